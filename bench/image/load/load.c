/* The load generator: one process, one epoll, no websocket library, because it must use less CPU than the server.
 *
 * Each line of standard input is a task: `echo port=443 name=wss.example ca=/tls/ca.pem path=/wss payload=128 …`. The
 * output is `start`, `end` and a line of JSON. It runs in the server's network namespace, with no network in between.
 */
#include "storm.h"
#include "wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    EVENTS = 1024,
    REPLY_TIMEOUT = 30, /* seconds without any reply */
    OPENERS = 4,        /* threads */
    BATCH = 100         /* connections that the threads open before pings are answered */
};

struct task {
    char workload[16];
    struct endpoint endpoint;
    size_t payload;
    unsigned connections, window, resumed, stay;
    double seconds, rate;
};

static struct ring ring;
static struct connection *clients;
static unsigned count;
static _Thread_local int events;

static double *latencies;
static size_t latency_count, latency_capacity;

/* --- All connections -------------------------------------------------------------------------------------------- */

static void record_latency(double seconds)
{
    if (latency_count == latency_capacity) {
        latency_capacity = latency_capacity ? 2 * latency_capacity : 1 << 16;
        latencies = realloc(latencies, latency_capacity * sizeof *latencies);
    }
    latencies[latency_count++] = seconds;
}

static void watch(struct connection *c, int how)
{
    struct epoll_event event = {.events = EPOLLIN | (c->unsent_size ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(events, how, c->socket, &event);
}

/* Process events that occur within so many seconds, but at most EVENTS; call `more` after the events of each client, to
 * send more. Return their number. */
static int poll_events(double seconds, void (*more)(struct connection *))
{
    static struct epoll_event ready[EVENTS];
    struct timespec timeout = {.tv_sec = seconds, .tv_nsec = (seconds - (long)seconds) * 1e9};
    int number = epoll_pwait2(events, ready, EVENTS, &timeout, NULL);
    if (number < 0 && errno != EINTR)
        fail("epoll: %s", strerror(errno));
    if (number == 0 && seconds == REPLY_TIMEOUT)
        fail("no reply for %d s", REPLY_TIMEOUT);
    for (int i = 0; i < number; i++) {
        struct connection *c = ready[i].data.ptr;
        bool was_waiting = c->unsent_size;
        if (was_waiting)
            connection_flush(c);
        if (ready[i].events & ~EPOLLOUT)
            connection_receive(c, record_latency);
        if (more)
            more(c);
        if (was_waiting != (c->unsent_size > 0))
            watch(c, EPOLL_CTL_MOD);
    }
    return number;
}

static void send_to(struct connection *c, unsigned messages)
{
    bool was_waiting = c->unsent_size;
    connection_send(c, messages);
    if (was_waiting != (c->unsent_size > 0))
        watch(c, EPOLL_CTL_MOD);
}

/* The connections that one thread opens. */
struct share {
    const struct task *task;
    struct connection *first;
    unsigned number;
};

static void *open_share(void *argument)
{
    const struct share *share = argument;
    for (unsigned i = 0; i < share->number; i++) {
        connection_open(&share->first[i], &share->task->endpoint, &ring, NULL);
        connection_set_nonblocking(&share->first[i]);
    }
    return NULL;
}

/* Uses threads, because a connect mostly waits for the server. */
static void open_up_to(const struct task *task, unsigned connections)
{
    while (count < connections) {
        struct share shares[OPENERS];
        pthread_t threads[OPENERS];
        unsigned first = count, number = connections - count < BATCH ? connections - count : BATCH;
        for (unsigned i = 0; i < OPENERS; i++) {
            unsigned begin = number * i / OPENERS, end = number * (i + 1) / OPENERS;
            shares[i] = (struct share){task, &clients[first + begin], end - begin};
            int error = pthread_create(&threads[i], NULL, open_share, &shares[i]);
            if (error)
                fail("cannot start a thread: %s", strerror(error));
        }
        for (unsigned i = 0; i < OPENERS; i++)
            pthread_join(threads[i], NULL);
        for (; count < first + number; count++)
            watch(&clients[count], EPOLL_CTL_ADD);
        /* Answer all pings on the open connections: opening thousands takes longer than a server's ping timeout. */
        while (poll_events(0, NULL) == EVENTS)
            continue;
    }
}

static void close_down_to(unsigned connections)
{
    while (count > connections)
        connection_close(&clients[--count]);
}

/* Connections stay open between tasks if they fit the next one, because opening them takes longer than measuring. */
static void prepare(const struct task *task)
{
    static char path[64];
    const char *wanted = task->endpoint.path ? task->endpoint.path : "";
    if (strcmp(path, wanted))
        close_down_to(0);
    snprintf(path, sizeof path, "%s", wanted);
    close_down_to(task->connections < count ? task->connections : count);
    for (unsigned i = 0; i < count; i++) {
        free(clients[i].due);
        clients[i].due = NULL;
    }
    free_ring(&ring);
    ring = make_ring(task->payload, task->endpoint.path);
    open_up_to(task, task->connections);
}

static uint64_t received(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += clients[i].received;
    return sum;
}

static uint64_t missing(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += clients[i].sent - clients[i].received;
    return sum;
}

/* Wait for outstanding replies and count those that do not arrive; then these connections are not used again. */
static uint64_t lost(void)
{
    for (double until = now() + REPLY_TIMEOUT; missing() && now() < until;)
        poll_events(1, NULL);
    uint64_t number = missing();
    if (number)
        close_down_to(0);
    return number;
}

/* --- The measured interval --------------------------------------------------------------------------------------- */

static double started, own_started;

static double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report_start(void)
{
    puts("start");
    fflush(stdout);
    started = now();
    own_started = own_cpu();
}

/* Prints the first fields of the result; the caller prints the others. */
static void report_end(void)
{
    double lasted = now() - started, own = own_cpu() - own_started;
    printf("end\n{\"seconds\": %.6f, \"own_cpu\": %.4f", lasted, own / lasted);
    fflush(stdout);
}

/* --- Workloads ------------------------------------------------------------------------------------------------------ */

static unsigned window;

static void fill_window(struct connection *c)
{
    unsigned in_flight = c->sent - c->received;
    if (in_flight < window && !c->unsent_size)
        connection_send(c, window - in_flight);
}

/* Keep the window of each connection full. */
static void run_echo(const struct task *task)
{
    window = task->window;
    for (unsigned i = 0; i < count; i++)
        send_to(&clients[i], window);
    for (double warm = now() + task->seconds / 4; now() < warm;)
        poll_events(REPLY_TIMEOUT, fill_window);
    uint64_t before = received();
    report_start();
    /* Large messages are slow: receive at least one per connection. */
    while (now() < started + task->seconds || received() - before < count)
        poll_events(REPLY_TIMEOUT, fill_window);
    uint64_t messages = received() - before;
    report_end();
    printf(", \"messages\": %llu, \"lost\": %llu}\n", (unsigned long long)messages, (unsigned long long)lost());
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double share)
{
    return latency_count ? latencies[(size_t)(share * (latency_count - 1))] * 1e6 : 0;
}

static void record_due_times(unsigned connections)
{
    for (unsigned i = 0; i < connections; i++)
        if (!clients[i].due)
            clients[i].due = calloc(MAX_IN_FLIGHT, sizeof(double));
}

/* Send the messages that are due, over so many connections, and process events until the next one is. */
static void send_due(const struct task *task, unsigned connections, double first, uint64_t *sent)
{
    double time = now(), due = first + *sent / task->rate;
    for (; due <= time; due = first + ++*sent / task->rate) {
        struct connection *c = &clients[*sent % connections];
        if (c->sent - c->received == MAX_IN_FLIGHT)
            fail("the server does not keep up with %.0f messages a second", task->rate);
        c->due[c->sent % MAX_IN_FLIGHT] = due;
        send_to(c, 1);
    }
    double pause = due - now();
    poll_events(pause > 0 ? pause : 0, NULL);
}

static void print_latencies(void)
{
    qsort(latencies, latency_count, sizeof *latencies, by_size);
    printf(", \"messages\": %zu, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f", latency_count, percentile(.5),
           percentile(.99), percentile(.999));
    printf(", \"lost\": %llu", (unsigned long long)lost());
}

/* Send at a constant rate, even if the server is slow; latency is measured from the scheduled send time. */
static void run_paced(const struct task *task)
{
    record_due_times(count);
    uint64_t sent = 0;
    double first = now(), warm = task->seconds / 4;
    bool counting = false;
    for (;;) {
        double time = now();
        if (!counting && time >= first + warm) {
            counting = true;
            latency_count = 0;
            report_start();
        }
        if (counting && time >= started + task->seconds)
            break;
        send_due(task, count, first, &sent);
    }
    report_end();
    print_latencies();
    puts("}");
}

static atomic_bool calm;

/* Those that stay have a thread, because a handshake of another client would delay their messages in the generator. */
static void *stay(void *argument)
{
    const struct task *task = argument;
    events = epoll_create1(0);
    for (unsigned i = 0; i < task->stay; i++)
        watch(&clients[i], EPOLL_CTL_ADD);
    uint64_t sent = 0;
    for (double first = now(); !calm;)
        send_due(task, task->stay, first, &sent);
    close(events);
    return NULL;
}

/* All connections but those that `stay` are dropped and reconnect at once. */
static void run_storm(const struct task *task)
{
    struct connection *dropped = &clients[task->stay];
    unsigned number = count - task->stay;
    pthread_t stayed;
    char line[16];
    record_due_times(task->stay);
    latency_count = 0;
    calm = false;
    report_start();
    /* A storm is no steady load: the caller reads the server's CPU time first. */
    if (!fgets(line, sizeof line, stdin))
        fail("the storm was not started");
    started = now();
    own_started = own_cpu();
    int error = pthread_create(&stayed, NULL, stay, (void *)task);
    if (error)
        fail("cannot start a thread: %s", strerror(error));
    struct storm storm = storm_run(dropped, number, &task->endpoint, task->resumed);
    calm = true;
    pthread_join(stayed, NULL);
    report_end();
    for (unsigned i = 0; i < number; i++)
        watch(&dropped[i], EPOLL_CTL_ADD);
    print_latencies();
    printf(", \"clients\": %u, \"resumed\": %u, \"retries\": %u}\n", number, storm.resumed, storm.retries);
}

/* One client sends a message and all clients receive it; then it sends the next. */
static void run_fan_out(const struct task *task)
{
    uint64_t rounds = 0;
    double warm = now() + task->seconds / 4;
    bool counting = false;
    while (!counting || now() < started + task->seconds) {
        if (!counting && now() >= warm) {
            counting = true;
            rounds = 0;
            report_start();
        }
        send_to(&clients[0], 1);
        uint64_t goal = clients[0].sent;
        double until = now() + REPLY_TIMEOUT;
        for (unsigned i = 0; i < count; i++)
            while (clients[i].received < goal) {
                poll_events(1, NULL);
                if (now() > until)
                    fail("client %u did not receive message %llu", i, (unsigned long long)goal);
            }
        rounds++;
    }
    report_end();
    printf(", \"messages\": %llu, \"lost\": 0}\n", (unsigned long long)(rounds * count));
}

/* Answer pings until there is a line on standard input, or end of file. */
static void wait_for_task(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(events, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (bool waiting = true; waiting;) {
        struct epoll_event ready[EVENTS];
        int number = epoll_wait(events, ready, EVENTS, -1);
        for (int i = 0; i < number; i++) {
            if (ready[i].data.ptr)
                connection_receive(ready[i].data.ptr, record_latency);
            else
                waiting = false;
        }
    }
    epoll_ctl(events, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

/* Only keep the connections open; pings are answered while waiting for the next task. */
static void run_idle(const struct task *task)
{
    printf("%u\n", task->connections);
}

/* Open and close one connection after another. */
static void run_handshakes(const struct task *task)
{
    struct ring none = {0};
    SSL_SESSION *session = NULL;
    uint64_t handshakes = 0, resumed = 0;
    bool counting = false;
    while (!counting || now() < started + task->seconds) {
        struct connection c;
        connection_open(&c, &task->endpoint, &none, session);
        resumed += c.ssl && SSL_session_reused(c.ssl);
        handshakes++;
        if (task->resumed) {
            /* TLS 1.3 tickets arrive before the response to the upgrade; each is valid for one handshake. */
            SSL_SESSION_free(session);
            session = SSL_get1_session(c.ssl);
        }
        connection_close(&c);
        if (!counting) {
            counting = true;
            handshakes = resumed = 0;
            report_start();
        }
    }
    report_end();
    SSL_SESSION_free(session);
    printf(", \"handshakes\": %llu, \"resumed\": %llu}\n", (unsigned long long)handshakes, (unsigned long long)resumed);
}

/* --- Tasks ------------------------------------------------------------------------------------------------------------ */

static struct task read_task(char *line)
{
    struct task task = {.endpoint.name = "localhost", .payload = 128, .connections = 1, .window = 1};
    static char *ca_read;
    static SSL_CTX *tls;
    char *word = strtok(line, " \n");
    snprintf(task.workload, sizeof task.workload, "%s", word ? word : "");
    while ((word = strtok(NULL, " \n"))) {
        char *value = strchr(word, '=');
        if (!value)
            fail("%s has no value", word);
        *value++ = 0;
        if (!strcmp(word, "port"))
            task.endpoint.port = atoi(value);
        else if (!strcmp(word, "name"))
            task.endpoint.name = value;
        else if (!strcmp(word, "path"))
            task.endpoint.path = value;
        else if (!strcmp(word, "ca")) {
            if (!ca_read) {
                tls = tls_context(value);
                ca_read = strdup(value);
            }
            task.endpoint.tls = tls;
        } else if (!strcmp(word, "payload"))
            task.payload = atol(value);
        else if (!strcmp(word, "connections"))
            task.connections = atoi(value);
        else if (!strcmp(word, "window"))
            task.window = atoi(value);
        else if (!strcmp(word, "resumed"))
            task.resumed = atoi(value);
        else if (!strcmp(word, "stay"))
            task.stay = atoi(value);
        else if (!strcmp(word, "seconds"))
            task.seconds = atof(value);
        else if (!strcmp(word, "rate"))
            task.rate = atof(value);
        else
            fail("unknown field: %s", word);
    }
    return task;
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(const struct task *);
    } workloads[] = {{"echo", run_echo}, {"paced", run_paced}, {"fan", run_fan_out}, {"storm", run_storm}, {"idle", run_idle}};
    prctl(PR_SET_TIMERSLACK, 1UL); /* nanoseconds, for exact pauses */
    setvbuf(stdin, NULL, _IONBF, 0); /* epoll does not see data in stdio's buffer */
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    events = epoll_create1(0);
    clients = calloc(files.rlim_max, sizeof *clients);
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        struct task task = read_task(line);
        if (!strcmp(task.workload, "handshakes")) {
            run_handshakes(&task);
        } else {
            size_t i = 0;
            while (i < sizeof workloads / sizeof *workloads && strcmp(workloads[i].name, task.workload))
                i++;
            if (i == sizeof workloads / sizeof *workloads)
                fail("unknown workload: %s", task.workload);
            prepare(&task);
            workloads[i].run(&task);
        }
        fflush(stdout);
        wait_for_task();
    }
    return 0;
}
