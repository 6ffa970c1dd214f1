/* Functions that the standard library names and Debian's wasi-libc does not have. There are no threads and no permissions: each says so. */
#include <errno.h>
#include <stddef.h>

#define FAILS(name, ...) \
    int name(__VA_ARGS__) { errno = ENOTSUP; return -1; }
#define SAYS(name, ...) \
    int name(__VA_ARGS__) { return ENOTSUP; }

SAYS(pthread_attr_init, void *a)
SAYS(pthread_attr_destroy, void *a)
SAYS(pthread_attr_setstacksize, void *a, unsigned long n)
SAYS(pthread_create, void *thread, const void *a, void *(*f)(void *), void *with)
SAYS(pthread_detach, unsigned long thread)
SAYS(pthread_join, unsigned long thread, void **result)
FAILS(chmod, const char *path, unsigned mode)
FAILS(fchmod, int file, unsigned mode)
char *realpath(const char *path, char *into) { errno = ENOTSUP; return NULL; }
