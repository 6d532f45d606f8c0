"""`python -m mbx2maildir`: the same as the command `mbx2maildir`."""

import sys

from mbx2maildir import command_line

if __name__ == "__main__":
    sys.exit(command_line.main())
