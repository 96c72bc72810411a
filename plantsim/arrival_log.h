/* arrival_log.h - writes down when which request arrived, so that a poller's jitter can be judged
 * from outside.
 *
 * File: 16 bytes "plantsim log 1\n\0", then records of 16 bytes in this machine's byte order:
 *   uint64 monotonic ns · uint8 unit · uint8 function · uint16 address (0-based) · uint16 count ·
 * uint16 client `count` is 1 for functions 5, 6 and 22; for 23 address and count are those of the
 * read. `client` numbers the connections from 0 on, modulo 2^16. A record costs a copy; the file is
 * written in blocks and each second. Thread: that of the server. */
#ifndef PLANTSIM_ARRIVAL_LOG_H
#define PLANTSIM_ARRIVAL_LOG_H
#include <stdbool.h>
#include <stdint.h>

struct arrival {
    uint64_t monotonic_ns;
    uint8_t unit, function;
    uint16_t address, count, client;
};

struct arrival_log;

/* Creates or empties `path`. Gives NULL with errno set where that fails; the caller owns the
 * result. */
struct arrival_log *arrival_log_open(const char *path);

/* Adds one record. `log` may be NULL: then nothing happens. */
void arrival_log_add(struct arrival_log *log, const struct arrival *arrival);

/* Hands all records so far to the operating system. Gives false if this or an earlier write failed.
 * NULL: true. */
bool arrival_log_flush(struct arrival_log *log);

/* Flushes and frees (takes `log`, which may be NULL). Gives false if a write failed. */
bool arrival_log_close(struct arrival_log *log);

#endif
