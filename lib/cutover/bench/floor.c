/* The floor: what walking one MBX file and writing a file a message costs when nothing but that is done.
 *
 * usage: floor MBX DIRECTORY     (the directory must exist)
 *
 * One process. For each visible message: text with CRLF made LF, openat, write, futimens, close. The names hold what Maildir
 * names hold; no dates are worked out, no UIDs checked, no index and no uidlist kept. Exit 1 at anything unexpected.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int source = open(argv[1], O_RDONLY), directory = open(argv[2], O_RDONLY | O_DIRECTORY);
    struct stat status;
    if (source < 0 || directory < 0 || fstat(source, &status) < 0)
        fail("open");
    size_t room = 1 << 20, length = status.st_size;
    char *box = mmap(NULL, length, PROT_READ, MAP_PRIVATE, source, 0), *text = malloc(room);
    if (box == MAP_FAILED || !text)
        fail("memory");
    unsigned long messages = 0;
    for (size_t at = 2048; at < length;) {
        char *end = memchr(box + at, '\n', length - at < 64 ? length - at : 64);
        char *comma = end ? memchr(box + at, ',', end - box - at) : NULL;
        if (!comma)
            return 1;
        char *rest;
        size_t size = strtoul(comma + 1, &rest, 10);
        unsigned flags = strtoul(rest + 9, NULL, 16), uid = strtoul(rest + 14, NULL, 16);
        const char *from = end + 1, *stop = from + size;
        at = stop - box;
        if (at > length)
            return 1;
        if (flags & 0x8000)
            continue;
        if (size > room && !(text = realloc(text, room = size)))
            fail("memory");
        char *to = text;
        while (from < stop) {
            const char *cr = memchr(from, '\r', stop - from);
            size_t run = (cr ? cr : stop) - from;
            memcpy(to, from, run);
            to += run;
            from += run;
            if (cr && ++from < stop && *from != '\n')
                *to++ = '\r';
        }
        char name[128];
        snprintf(name, sizeof name, "1233619323.M%uP1.floor,S=%zu,W=%zu:2,S", uid, (size_t) (to - text), size);
        int target = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        struct timespec times[2] = {{1233619323, 0}, {1233619323, 0}};
        if (target < 0 || write(target, text, to - text) != to - text || futimens(target, times) < 0 || close(target) < 0)
            fail(name);
        messages++;
    }
    printf("%lu\n", messages);
    return 0;
}
