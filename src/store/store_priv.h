/* store_priv.h - what store.c and scan.c share. */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include "store/catalog.h"
#include "store/head.h"
#include "store/log.h"
#include "data/codec_rows.h"
#include "store/store.h"

/* What readers see beside the catalogue, replaced whole: pinned by a statement. */
struct store_view {
    _Atomic uint32_t refs;
    struct head *head;
};

struct store {
    struct context *context;
    char folder[3900];
    struct os_file *lock;
    uint64_t origin;
    struct catalog catalog;
    struct cell view; /* of struct store_view */
    struct budget head_budget;

    /* Log task. */
    struct loop log_loop;
    struct log log;
    struct store_append *arrived, *arrived_last;    /* of this round of jobs */
    struct store_append *waiting, *waiting_last;    /* applied, wait for durable; by seq */
    struct store_define *defined, *defined_last;    /* written, wait for durable */
    uint64_t appended;                              /* last seq written to the file */
    bool syncing, closing;
    struct os_timer *sync_timer;
    bool sync_timer_set;
    bool failed; /* the last write or sync failed: a new segment comes first */
    size_t listener_count;
    struct {
        void (*on_applied)(void *arg, struct batch *batch);
        void *arg;
    } listeners[STORE_LISTENERS_MAX];

    /* Sync task. */
    struct loop sync_loop;
    struct job sync_job, synced_job;
    struct os_file *sync_file;
    uint64_t sync_seq;
    enum err sync_err;
    struct why sync_why;

    /* Any task reads. */
    _Atomic uint64_t position_appended, position_applied, position_durable;
};

/* The statement's snapshot: a view and the position applied at its start. */
struct store_snapshot {
    struct store_view *view;
    uint64_t applied;
};

struct store_view *store_view_get(struct store *store);
void store_view_release(struct store_view *view);

#endif
