/* What goes over the wire: messages made before the clock starts, and connections that send and compare them. */
#ifndef WIRE_H
#define WIRE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the server is; `tls` is NULL where it speaks none, `path` is NULL where it knows no websockets. */
struct place {
    int port;
    const char *name;
    const char *path;
    SSL_CTX *tls;
};

/* Requests to be sent in turn, and their replies: all of one size, one behind the other. */
struct ring {
    size_t count;
    size_t request_size, reply_size;
    unsigned char *requests, *replies;
};

struct connection {
    int socket;
    SSL *ssl;
    const struct ring *ring;
    uint64_t sent, received;   /* messages */
    size_t received_part;      /* bytes of the reply that is under way */
    unsigned char ping[127];   /* one that is under way, instead of a reply */
    size_t ping_part;
    unsigned char *unsent;     /* what the socket did not take */
    size_t unsent_size, unsent_room;
    double *due;               /* when each message in flight was to be sent; NULL where nobody asks */
};

enum { MOST_IN_FLIGHT = 1024 }; /* where `due` is kept */

/* Message on standard error, and the end: a load that is not as it should be measures nothing. */
_Noreturn void fail(const char *format, ...);
double now(void); /* seconds */

SSL_CTX *tls_context(const char *ca_file);
struct ring make_ring(size_t payload, bool websocket);
void free_ring(struct ring *ring);

/* Connect, shake hands, upgrade: blocking. `session`: to be resumed, or NULL. */
void connection_open(struct connection *c, const struct place *place, const struct ring *ring, SSL_SESSION *session);
void connection_close(struct connection *c);
void connection_set_nonblocking(struct connection *c);

/* Send that many messages more; what does not fit waits for connection_flush. */
void connection_send(struct connection *c, unsigned count);
/* Send on what waits; returns whether there is still some. */
bool connection_flush(struct connection *c);
/* Read and compare what is there; `latency` is told the seconds from `due`, where that is kept. Ends the program at the
   first wrong byte, or where the server hangs up. */
void connection_receive(struct connection *c, void (*latency)(double));

#endif
