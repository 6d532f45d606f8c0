from cutover.commands.main import main

main()
