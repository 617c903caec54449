/* Messages, which are generated before the measurement, and connections that send them and compare the replies. */
#ifndef WIRE_H
#define WIRE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The server's address; `tls` is NULL for a server without TLS, `path` is NULL for one without websockets. */
struct endpoint {
    int port;
    const char *name;
    const char *path;
    SSL_CTX *tls;
};

/* Requests, which are sent in turn, and the expected replies: all of the same size, contiguous in memory. */
struct ring {
    size_t count;
    size_t request_size, reply_size;
    unsigned char *requests, *replies;
};

struct connection {
    int socket;
    SSL *ssl;
    struct opening *opening;   /* NULL if the connection is open */
    const struct ring *ring;
    uint64_t sent, received;   /* messages */
    size_t received_part;      /* bytes received of an incomplete reply */
    unsigned char ping[127];   /* an incomplete ping */
    size_t ping_part;          /* bytes received of it */
    unsigned char *unsent;     /* bytes that did not fit into the socket's buffer */
    size_t unsent_size, unsent_capacity;
    double *due;               /* scheduled send time of each message in flight; NULL if latency is not measured */
};

enum { MAX_IN_FLIGHT = 1024 }; /* messages per connection, if `due` is recorded */

/* Print a message to standard error and exit: after an error, measurements are invalid. */
_Noreturn void fail(const char *format, ...);
double now(void); /* seconds */

SSL_CTX *tls_context(const char *ca_file);
struct ring make_ring(size_t payload, bool websocket);
void free_ring(struct ring *ring);

/* Connect, with the TLS handshake and the upgrade (blocking). `session` is the TLS session to resume, or NULL. */
void connection_open(struct connection *c, const struct endpoint *endpoint, const struct ring *ring,
                     SSL_SESSION *session);
/* The same in steps: start, make the socket non-blocking, then advance whenever the socket is ready. */
enum progress { OPENING, OPEN, FAILED };
void connection_start(struct connection *c, const struct endpoint *endpoint, const struct ring *ring,
                      SSL_SESSION *session);
/* If it failed, `error` is the reason. */
enum progress connection_advance(struct connection *c, const char **error);
void connection_close(struct connection *c);
/* Close the socket without TLS's close_notify, as a network failure does. */
void connection_drop(struct connection *c);
void connection_set_nonblocking(struct connection *c);

/* Send `count` more messages; bytes that do not fit into the socket's buffer are kept for connection_flush. */
void connection_send(struct connection *c, unsigned count);
/* Send the bytes that were kept; return whether some remain. */
bool connection_flush(struct connection *c);
/* Read and compare the available data. If `due` is recorded, call `latency` with the seconds since then for each reply.
   Exits the program at the first wrong byte, or if the server closes the connection. */
void connection_receive(struct connection *c, void (*latency)(double));

#endif
