/* Garage's nodes leave Nagle's algorithm on in the connections between them, so that on
   one machine nearly each request with a body waits 40 ms for a delayed acknowledgement.
   Loaded into Garage by LD_PRELOAD, this turns it off; accepted connections inherit that
   from the socket that listens. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol) {
    static int (*real)(int, int, int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "socket");
    int made = real(domain, type, protocol), on = 1;
    if (made >= 0) setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return made;
}
