#include "storm.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    DEADLINE = 60, /* seconds until all must be open */
};

static int events;
static double deadline;

static void start(struct connection *c, const struct endpoint *endpoint, SSL_SESSION *session)
{
    connection_start(c, endpoint, c->ring, session);
    connection_set_nonblocking(c);
    /* Edge-triggered: connection_advance continues until the socket has no data. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(events, EPOLL_CTL_ADD, c->socket, &event);
}

/* Advance; after a failure, try again at once. Return whether the connection is open. */
static bool advance(struct connection *c, const struct endpoint *endpoint, SSL_SESSION *session, unsigned *retries)
{
    const char *error;
    enum progress progress;
    while ((progress = connection_advance(c, &error)) == FAILED) {
        if (now() > deadline)
            fail("%s", error);
        ++*retries;
        connection_drop(c);
        start(c, endpoint, session);
    }
    return progress == OPEN;
}

struct storm storm_run(struct connection *clients, unsigned number, const struct endpoint *endpoint, bool resume)
{
    struct storm storm = {0};
    SSL_SESSION **sessions = calloc(number, sizeof *sessions);
    unsigned open = 0;
    events = epoll_create1(0);
    deadline = now() + DEADLINE;
    for (unsigned i = 0; resume && i < number; i++)
        sessions[i] = SSL_get1_session(clients[i].ssl);
    for (unsigned i = 0; i < number; i++)
        connection_drop(&clients[i]);
    for (unsigned i = 0; i < number; i++)
        start(&clients[i], endpoint, sessions[i]);
    while (open < number) {
        struct epoll_event ready[EVENTS];
        int count = epoll_wait(events, ready, EVENTS, 1000);
        if (now() > deadline)
            fail("%u of %u clients are connected after %d s", open, number, DEADLINE);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c->opening || !advance(c, endpoint, sessions[c - clients], &storm.retries))
                continue;
            open++;
            epoll_ctl(events, EPOLL_CTL_DEL, c->socket, NULL);
            if (c->ssl)
                storm.resumed += SSL_session_reused(c->ssl);
        }
    }
    for (unsigned i = 0; i < number; i++)
        SSL_SESSION_free(sessions[i]);
    free(sessions);
    close(events);
    return storm;
}
