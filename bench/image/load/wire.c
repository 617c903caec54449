#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    RING = 64,              /* distinct messages, to detect lost, duplicate and misdelivered replies */
    RING_BYTES = 8 << 20,   /* maximum, of all messages together */
    BUFFER = 1 << 18,
    CONNECT_TIMEOUT = 60,   /* seconds without progress while connecting */
    START_TIMEOUT = 30      /* seconds until the server listens */
};

/* RFC 6455 section 5.2; the handshake of section 1.3. */
enum { TEXT = 0x81, PING = 0x89, PONG = 0x8a, MASKED = 0x80, MAX_CONTROL = 125 };
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* --- Messages ------------------------------------------------------------------------------------------------- */

static size_t write_head(unsigned char *to, size_t size, unsigned masked)
{
    to[0] = TEXT;
    if (size < 126) {
        to[1] = masked | size;
        return 2;
    }
    int bytes = size < 1 << 16 ? 2 : 8;
    to[1] = masked | (bytes == 2 ? 126 : 127);
    for (int i = 0; i < bytes; i++)
        to[2 + i] = size >> 8 * (bytes - 1 - i);
    return 2 + bytes;
}

struct ring make_ring(size_t payload, bool websocket)
{
    struct ring ring = {.count = RING_BYTES / (payload + 16)};
    ring.count = ring.count < 2 ? 2 : ring.count > RING ? RING : ring.count;
    unsigned char head[10];
    size_t head_size = write_head(head, payload, 0);
    ring.request_size = head_size + 4 + payload;
    ring.reply_size = websocket ? head_size + payload : ring.request_size;
    ring.requests = malloc(ring.count * ring.request_size);
    ring.replies = malloc(ring.count * ring.reply_size);
    unsigned char *text = malloc(payload), mask[4];
    for (size_t n = 0; n < ring.count; n++) {
        RAND_bytes(text, payload);
        RAND_bytes(mask, sizeof mask);
        unsigned char *request = ring.requests + n * ring.request_size, *reply = ring.replies + n * ring.reply_size;
        write_head(request, payload, MASKED);
        memcpy(request + head_size, mask, 4);
        for (size_t i = 0; i < payload; i++) {
            text[i] = 'a' + text[i] % 26;
            request[head_size + 4 + i] = text[i] ^ mask[i % 4];
        }
        if (websocket) {
            write_head(reply, payload, 0);
            memcpy(reply + head_size, text, payload);
        } else {
            memcpy(reply, request, ring.request_size);
        }
    }
    free(text);
    return ring;
}

void free_ring(struct ring *ring)
{
    free(ring->requests);
    free(ring->replies);
}

/* --- Connecting ------------------------------------------------------------------------------------------------- */

SSL_CTX *tls_context(const char *ca_file)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1)
        fail("%s is not a file with a CA certificate", ca_file);
    /* Reads a TLS record with one read() instead of two. */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

static ssize_t send_bytes(struct connection *c, const void *data, size_t size)
{
    if (!c->ssl)
        return send(c->socket, data, size, MSG_NOSIGNAL);
    int sent = SSL_write(c->ssl, data, size);
    if (sent > 0)
        return sent;
    errno = SSL_get_error(c->ssl, sent) == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return -1;
}

static ssize_t receive_bytes(struct connection *c, void *buffer, size_t size)
{
    if (!c->ssl)
        return recv(c->socket, buffer, size, 0);
    int got = SSL_read(c->ssl, buffer, size);
    if (got > 0)
        return got;
    int error = SSL_get_error(c->ssl, got);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = error == SSL_ERROR_WANT_READ ? EAGAIN : EIO;
    return -1;
}

/* What is needed of a connection until it is open. */
struct opening {
    const struct endpoint *endpoint;
    enum { CONNECTING, TLS_HANDSHAKE, REQUEST, RESPONSE } step;
    char head[4096]; /* of the response */
    size_t got;
};

static enum progress failed(const char **error, const char *format, ...)
{
    static _Thread_local char text[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    *error = text;
    return FAILED;
}

static enum progress request_upgrade(struct connection *c, const char **error)
{
    const struct endpoint *endpoint = c->opening->endpoint;
    char head[1024];
    int size = snprintf(head, sizeof head,
                        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        endpoint->path, endpoint->name, KEY);
    if (send_bytes(c, head, size) != size)
        return failed(error, "cannot send the upgrade request");
    return OPEN;
}

static enum progress read_response(struct connection *c, const char **error)
{
    struct opening *o = c->opening;
    /* Byte by byte, because the data after the head is a message. */
    while (o->got < 4 || memcmp(o->head + o->got - 4, "\r\n\r\n", 4)) {
        ssize_t got = o->got < sizeof o->head - 1 ? receive_bytes(c, o->head + o->got, 1) : 0;
        if (got < 0 && errno == EAGAIN)
            return OPENING;
        if (got != 1)
            return failed(error, "the response to the upgrade is incomplete: %s", o->head);
        o->got++;
    }
    if (strncmp(o->head, "HTTP/1.1 101 ", 13) || !strstr(o->head, ACCEPT))
        return failed(error, "the upgrade failed: %s", o->head);
    return OPEN;
}

static enum progress take_step(struct connection *c, const char **error)
{
    const struct endpoint *endpoint = c->opening->endpoint;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(endpoint->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    switch (c->opening->step) {
    case CONNECTING:
        if (!connect(c->socket, (struct sockaddr *)&address, sizeof address) || errno == EISCONN)
            return OPEN;
        if (errno == EINPROGRESS || errno == EALREADY)
            return OPENING;
        return failed(error, "connecting to port %d: %s", endpoint->port, strerror(errno));
    case TLS_HANDSHAKE: {
        int done = c->ssl ? SSL_connect(c->ssl) : 1;
        if (done == 1)
            return OPEN;
        int reason = SSL_get_error(c->ssl, done);
        if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
            return OPENING;
        return failed(error, "TLS: %s", ERR_error_string(ERR_peek_last_error(), NULL));
    }
    case REQUEST:
        return request_upgrade(c, error);
    default:
        return read_response(c, error);
    }
}

enum progress connection_advance(struct connection *c, const char **error)
{
    struct opening *o = c->opening;
    for (;;) {
        ERR_clear_error();
        enum progress progress = take_step(c, error);
        if (progress != OPEN)
            return progress;
        if (o->step == RESPONSE || (o->step == TLS_HANDSHAKE && !o->endpoint->path))
            break;
        o->step++;
    }
    free(o);
    c->opening = NULL;
    return OPEN;
}

void connection_start(struct connection *c, const struct endpoint *endpoint, const struct ring *ring,
                      SSL_SESSION *session)
{
    *c = (struct connection){.ring = ring, .socket = socket(AF_INET, SOCK_STREAM, 0)};
    c->opening = calloc(1, sizeof *c->opening);
    c->opening->endpoint = endpoint;
    int on = 1;
    if (c->socket < 0 || setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
        fail("cannot create a socket: %s", strerror(errno));
    if (endpoint->tls) {
        c->ssl = SSL_new(endpoint->tls);
        SSL_set_fd(c->ssl, c->socket);
        SSL_set_tlsext_host_name(c->ssl, endpoint->name);
        SSL_set1_host(c->ssl, endpoint->name);
        if (session)
            SSL_set_session(c->ssl, session);
    }
}

void connection_open(struct connection *c, const struct endpoint *endpoint, const struct ring *ring,
                     SSL_SESSION *session)
{
    const char *error;
    struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT};
    enum progress progress;
    for (double until = now() + START_TIMEOUT;;) {
        connection_start(c, endpoint, ring, session);
        setsockopt(c->socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        progress = connection_advance(c, &error);
        if (progress != FAILED || errno != ECONNREFUSED || now() > until)
            break;
        connection_drop(c);
        usleep(100000);
    }
    if (progress == FAILED)
        fail("%s", error);
    if (progress == OPENING)
        fail("no reply for %d s while connecting to port %d", CONNECT_TIMEOUT, endpoint->port);
}

void connection_set_nonblocking(struct connection *c)
{
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
}

static void release(struct connection *c)
{
    SSL_free(c->ssl);
    close(c->socket);
    free(c->opening);
    free(c->unsent);
    free(c->due);
}

void connection_close(struct connection *c)
{
    if (c->ssl)
        SSL_shutdown(c->ssl);
    release(c);
}

void connection_drop(struct connection *c)
{
    /* OpenSSL does not resume the session of a connection that ended without close_notify; this marks it as sent. */
    if (c->ssl)
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN);
    release(c);
}

/* --- Sending and receiving --------------------------------------------------------------------------------------- */

static void send_or_buffer(struct connection *c, const unsigned char *data, size_t size)
{
    while (size && !c->unsent_size) {
        ssize_t sent = send_bytes(c, data, size);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail("sending: %s", strerror(errno));
            break;
        }
        data += sent;
        size -= sent;
    }
    if (!size)
        return;
    if (c->unsent_capacity < c->unsent_size + size) {
        c->unsent_capacity = c->unsent_size + size;
        c->unsent = realloc(c->unsent, c->unsent_capacity);
    }
    memcpy(c->unsent + c->unsent_size, data, size);
    c->unsent_size += size;
}

bool connection_flush(struct connection *c)
{
    size_t done = 0;
    while (done < c->unsent_size) {
        ssize_t sent = send_bytes(c, c->unsent + done, c->unsent_size - done);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail("sending: %s", strerror(errno));
            break;
        }
        done += sent;
    }
    memmove(c->unsent, c->unsent + done, c->unsent_size - done);
    c->unsent_size -= done;
    return c->unsent_size;
}

void connection_send(struct connection *c, unsigned count)
{
    const struct ring *ring = c->ring;
    while (count) {
        /* As many as are contiguous in the ring. */
        size_t start = c->sent % ring->count, part = ring->count - start;
        if (part > count)
            part = count;
        send_or_buffer(c, ring->requests + start * ring->request_size, part * ring->request_size);
        c->sent += part;
        count -= part;
    }
}

static void answer_ping(struct connection *c)
{
    unsigned char pong[6 + MAX_CONTROL], *mask = pong + 2;
    size_t size = c->ping[1];
    pong[0] = PONG;
    pong[1] = MASKED | size;
    RAND_bytes(mask, 4);
    for (size_t i = 0; i < size; i++)
        pong[6 + i] = c->ping[2 + i] ^ mask[i % 4];
    send_or_buffer(c, pong, 6 + size);
}

/* Process data of a ping, which may be incomplete; return the number of bytes used. */
static size_t receive_ping(struct connection *c, const unsigned char *data, size_t size)
{
    size_t used = 0;
    while (used < size) {
        c->ping[c->ping_part++] = data[used++];
        if (c->ping_part >= 2 && c->ping[1] > MAX_CONTROL)
            fail("a ping is too long");
        if (c->ping_part >= 2 && c->ping_part == 2u + c->ping[1]) {
            answer_ping(c);
            c->ping_part = 0;
            break;
        }
    }
    return used;
}

static void compare(struct connection *c, const unsigned char *data, size_t size, void (*latency)(double))
{
    const struct ring *ring = c->ring;
    while (size) {
        size_t used;
        if (c->ping_part || (!c->received_part && *data == PING && ring->replies[0] == TEXT)) {
            used = receive_ping(c, data, size);
        } else {
            const unsigned char *reply = ring->replies + c->received % ring->count * ring->reply_size;
            used = ring->reply_size - c->received_part;
            if (used > size)
                used = size;
            if (memcmp(data, reply + c->received_part, used))
                fail("reply %llu is wrong", (unsigned long long)c->received);
            c->received_part += used;
            if (c->received_part == ring->reply_size) {
                if (c->due)
                    latency(now() - c->due[c->received % MAX_IN_FLIGHT]);
                c->received_part = 0;
                c->received++;
            }
        }
        data += used;
        size -= used;
    }
}

void connection_receive(struct connection *c, void (*latency)(double))
{
    static _Thread_local unsigned char buffer[BUFFER];
    for (;;) {
        ssize_t got = receive_bytes(c, buffer, sizeof buffer);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            fail("the server closed the connection: %s", got ? strerror(errno) : "end of stream");
        compare(c, buffer, got, latency);
        /* If TLS has no buffered data, or the read did not fill the buffer, epoll reports further data. */
        if (c->ssl ? !SSL_has_pending(c->ssl) : (size_t)got < sizeof buffer)
            return;
    }
}
