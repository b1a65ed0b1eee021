/* Asks over TLS with as little of the machine as it takes, so that what is measured is what answers.
 *
 *   client ADDRESS PORT HOST:PORT direct|tunnel TRUST PATHS closed CONNECTIONS SECONDS REQUESTS
 *   client ADDRESS PORT HOST:PORT direct|tunnel TRUST PATHS open   CONNECTIONS SECONDS RATE
 *   client ADDRESS PORT HOST:PORT direct|tunnel TRUST PATHS fresh  0|1 SECONDS REQUESTS
 *
 * closed: each connection asks again as soon as it is answered, until SECONDS are over or REQUESTS (0: no end) were sent.
 * open:   requests fall due at RATE a second with exponential gaps, whatever is answered; a latency counts from when a
 *         request was due, so that the time in which it waited for a free connection is in it.
 * fresh:  one connection after the other (connect, CONNECT, handshake, one request); 1 takes up the last one's session.
 *
 * PATHS is a file of one path a line, asked for in turn. One line of JSON comes out: seconds are in the latencies too.
 * Anything but a 200 with a Content-Length, or a certificate that TRUST does not vouch for, ends it with status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1024, HEAD = 8192, READ = 65536, SILENCE_SECONDS = 30 };

typedef struct {
    int fd;
    SSL *ssl;
    double due;
    size_t head_size; /* bytes of the head that are here */
    long long left;   /* bytes of body still to come; -1 while the head is incomplete */
    char head[HEAD + 1];
} Connection;

static struct sockaddr_in address;
static const char *host;
static int tunnel;
static SSL_CTX *context;
static SSL_SESSION *session;
static char **requests;
static size_t request_count, next_request;
static double *latencies;
static size_t done, room, resumed;
static double begin, busy; /* when the first request was due, and what the client had used of a processor by then */
static double waited;      /* how long the client had been ready and had no processor by then */
static long long bytes;
static char buffer[READ];

static void die(const char *what) {
    unsigned long error = ERR_peek_last_error();
    fprintf(stderr, "client: %s: %s\n", what, error ? ERR_reason_error_string(error) : strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double processor(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Gives the seconds in which this process was ready to run and had to wait for a processor. */
static double waiting(void) {
    double nanoseconds = 0;
    FILE *file = fopen("/proc/self/schedstat", "r");
    if (file && fscanf(file, "%*s %lf", &nanoseconds) != 1) nanoseconds = 0;
    if (file) fclose(file);
    return nanoseconds / 1e9;
}

static void start(void) {
    waited = waiting();
    busy = processor();
    begin = now();
}

static void note(double latency) {
    if (done == room) {
        room = room ? room * 2 : 1 << 16;
        latencies = realloc(latencies, room * sizeof *latencies);
        if (!latencies) die("no memory");
    }
    latencies[done++] = latency;
}

static void read_paths(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file) die(name);
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, file)) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        if (!requests || asprintf(&requests[request_count++], "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n\r\n", line, host) < 0)
            die("no memory");
    }
    fclose(file);
    free(line);
    if (!request_count) die("no paths");
}

static int keep_session(SSL *ssl, SSL_SESSION *fresh) {
    (void)ssl;
    SSL_SESSION_free(session);
    session = fresh;
    return 1;
}

static void open_connection(Connection *one) {
    const int on = 1;
    /* A server that falls silent ends the measurement instead of holding it up. */
    const struct timeval silence = {SILENCE_SECONDS, 0};
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one->fd < 0 || setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) die("socket");
    if (setsockopt(one->fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence)) die("socket");
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    if (tunnel) {
        char text[512];
        int length = snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host);
        if (write(one->fd, text, (size_t)length) != length) die("CONNECT");
        size_t size = 0;
        text[0] = 0;
        while (!strstr(text, "\r\n\r\n")) {
            ssize_t more = read(one->fd, text + size, sizeof text - 1 - size);
            if (more <= 0) die("no answer to CONNECT");
            text[size += (size_t)more] = 0;
        }
        if (strncmp(text, "HTTP/1.1 200", 12)) die("CONNECT was refused");
    }
    one->ssl = SSL_new(context);
    if (!one->ssl || SSL_set_fd(one->ssl, one->fd) != 1) die("TLS");
    if (session) SSL_set_session(one->ssl, session);
    if (SSL_connect(one->ssl) != 1) die("handshake");
    resumed += (size_t)SSL_session_reused(one->ssl);
}

static void ask(Connection *one, double due) {
    const char *text = requests[next_request++ % request_count];
    one->due = due;
    one->head_size = 0;
    one->left = -1;
    /* Nothing else is on its way, so the socket always has room for a request. */
    if (SSL_write(one->ssl, text, (int)strlen(text)) <= 0) die("request");
}

static void take(Connection *one, const char *data, size_t size) {
    if (one->left < 0) {
        size_t before = one->head_size, part = size < HEAD - before ? size : HEAD - before;
        memcpy(one->head + before, data, part);
        one->head[one->head_size = before + part] = 0;
        char *end = strstr(one->head, "\r\n\r\n");
        if (!end) {
            if (one->head_size == HEAD) die("a head without end");
            return;
        }
        *end = 0;
        char *length = strcasestr(one->head, "\r\ncontent-length:");
        if (strncmp(one->head, "HTTP/1.1 200", 12) || !length) die(one->head);
        one->left = strtoll(length + 17, NULL, 10);
        size_t used = (size_t)(end - one->head) + 4 - before; /* of what came now */
        size -= used;
    }
    bytes += (long long)size;
    one->left -= (long long)size;
    if (one->left < 0) die("more than an answer");
}

/* Reads what is there; tells whether the answer is complete. */
static int answered(Connection *one) {
    while (one->left) {
        int size = SSL_read(one->ssl, buffer, READ);
        if (size > 0)
            take(one, buffer, (size_t)size);
        else if (SSL_get_error(one->ssl, size) == SSL_ERROR_WANT_READ)
            return 0;
        else
            die("the server hung up");
    }
    return 1;
}

static Connection *open_all(size_t count, int queue) {
    Connection *all = calloc(count, sizeof *all);
    if (!all) die("no memory");
    for (size_t index = 0; index < count; index++) {
        open_connection(&all[index]);
        if (fcntl(all[index].fd, F_SETFL, O_NONBLOCK)) die("fcntl");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[index]};
        if (epoll_ctl(queue, EPOLL_CTL_ADD, all[index].fd, &event)) die("epoll");
        all[index].left = 0;
    }
    return all;
}

static int wait_for(int queue, struct epoll_event *events, double seconds) {
    struct timespec time = {(time_t)seconds, (long)(fmod(seconds, 1) * 1e9)};
    int count = epoll_pwait2(queue, events, MOST_CONNECTIONS, &time, NULL);
    if (count < 0 && errno != EINTR) die("epoll");
    return count < 0 ? 0 : count;
}

static double closed(size_t count, double seconds, size_t most) {
    struct epoll_event events[MOST_CONNECTIONS];
    int queue = epoll_create1(EPOLL_CLOEXEC);
    Connection *all = open_all(count, queue);
    size_t under_way = 0;
    start();
    for (size_t index = 0; index < count && (!most || next_request < most); index++, under_way++) ask(&all[index], now());
    while (under_way) {
        int ready = wait_for(queue, events, SILENCE_SECONDS);
        if (!ready) die("nothing came");
        for (int index = 0; index < ready; index++) {
            Connection *one = events[index].data.ptr;
            int waited = one->left != 0;
            if (!waited) { /* a ticket, or the end of the connection */
                if (SSL_read(one->ssl, buffer, 1) > 0 || SSL_get_error(one->ssl, -1) != SSL_ERROR_WANT_READ) die("the server hung up");
                continue;
            }
            if (!answered(one)) continue;
            double time = now();
            note(time - one->due);
            if (time - begin < seconds && (!most || next_request < most))
                ask(one, time);
            else
                under_way--;
        }
    }
    return now() - begin;
}

static double gap(double rate) {
    static uint64_t state = 88172645463325252ULL; /* the same gaps in each run */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return -log(((double)(state >> 11) + 1) / 9007199254740993.0) / rate;
}

static double open_loop(size_t count, double seconds, double rate) {
    struct epoll_event events[MOST_CONNECTIONS];
    int queue = epoll_create1(EPOLL_CLOEXEC);
    Connection *all = open_all(count, queue);
    /* The connection that is idle longest is next, so that all are used. */
    Connection *idle[MOST_CONNECTIONS];
    size_t idle_first = 0, idle_count = count, due_first = 0, due_count = 0;
    size_t due_room = (size_t)(seconds * rate * 2) + 1000;
    double *due = malloc(due_room * sizeof *due);
    if (!due) die("no memory");
    for (size_t index = 0; index < count; index++) idle[index] = &all[index];
    start();
    double next = begin + gap(rate), end = begin + seconds;
    while (next < end || due_first < due_count || idle_count < count) {
        double time = now();
        for (; next <= time && next < end && due_count < due_room; next += gap(rate)) due[due_count++] = next;
        for (; due_first < due_count && idle_count; idle_count--) ask(idle[idle_first++ % MOST_CONNECTIONS], due[due_first++]);
        double rest = next < end ? next - now() : SILENCE_SECONDS;
        int ready = wait_for(queue, events, rest > 0 ? rest : 0);
        if (!ready && next >= end && idle_count < count) die("nothing came");
        for (int index = 0; index < ready; index++) {
            Connection *one = events[index].data.ptr;
            if (!one->left) {
                if (SSL_read(one->ssl, buffer, 1) > 0 || SSL_get_error(one->ssl, -1) != SSL_ERROR_WANT_READ) die("the server hung up");
                continue;
            }
            if (!answered(one)) continue;
            note(now() - one->due);
            idle[(idle_first + idle_count++) % MOST_CONNECTIONS] = one;
        }
    }
    return now() - begin;
}

static double fresh(int resume, double seconds, size_t most) {
    static Connection one;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    if (resume) SSL_CTX_sess_set_new_cb(context, keep_session);
    start();
    do {
        double from = now();
        open_connection(&one);
        ask(&one, from);
        if (!answered(&one)) die("the server fell silent");
        note(now() - from);
        SSL_shutdown(one.ssl);
        SSL_free(one.ssl);
        close(one.fd);
    } while (done < most && now() - begin < seconds);
    return now() - begin;
}

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double quantile(double part) {
    return latencies[(size_t)((double)(done - 1) * part + 0.5)];
}

int main(int count, char **words) {
    if (count != 11) {
        fprintf(stderr, "client: see the head of client.c\n");
        return 2;
    }
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[2]))};
    if (inet_pton(AF_INET, words[1], &address.sin_addr) != 1) die(words[1]);
    host = words[3];
    tunnel = !strcmp(words[4], "tunnel");
    read_paths(words[6]);
    const char *kind = words[7];
    size_t number = (size_t)atoll(words[8]);
    double seconds = atof(words[9]), last = atof(words[10]);
    prctl(PR_SET_TIMERSLACK, 1UL);

    context = SSL_CTX_new(TLS_client_method());
    char *name = strndup(host, strcspn(host, ":"));
    X509_VERIFY_PARAM *verify = SSL_CTX_get0_param(context);
    if (!X509_VERIFY_PARAM_set1_ip_asc(verify, name) && !X509_VERIFY_PARAM_set1_host(verify, name, 0)) die(name);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, words[5], NULL) != 1) die(words[5]);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ);

    double took;
    if (strcmp(kind, "fresh") && (!number || number > MOST_CONNECTIONS)) die("1 to 1024 connections");
    if (!strcmp(kind, "closed"))
        took = closed(number, seconds, (size_t)last);
    else if (!strcmp(kind, "open"))
        took = open_loop(number, seconds, last);
    else
        took = fresh(number != 0, seconds, (size_t)last);
    busy = processor() - busy;
    waited = waiting() - waited;
    if (!done) die("nothing was asked");
    qsort(latencies, done, sizeof *latencies, compare);
    printf("{\"requests\": %zu, \"seconds\": %.6f, \"size\": %lld, \"client\": %.6f, \"resumed\": %zu, ", done, took, bytes, busy, resumed);
    printf("\"p50\": %.7f, \"p99\": %.7f, \"worst\": %.7f, ", quantile(0.5), quantile(0.99), latencies[done - 1]);
    printf("\"waited\": %.6f}\n", waited);
    return 0;
}
