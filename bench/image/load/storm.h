/* A reconnect storm: clients lose their connections at the same moment, and all reconnect at once. */
#ifndef STORM_H
#define STORM_H

#include "wire.h"

struct storm {
    unsigned resumed; /* connections that resumed their TLS session */
    unsigned retries; /* attempts that failed */
};

/* Drop the open connections, reconnect all of them at once, and return when all are open. `resume` the TLS sessions. */
struct storm storm_run(struct connection *clients, unsigned number, const struct endpoint *endpoint, bool resume);

#endif
