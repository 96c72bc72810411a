/* write.c - one value to equipment: denied unless everything allows it, audited before it leaves
 * and after.
 *
 * A write goes in front of polling and is sent once: after a time-out nobody knows whether it
 * arrived, and sending a command twice is worse than saying so. Where the point can be read, it is
 * read back and both values are told. */
#include "collect/collect_priv.h"
#include <stdio.h>

static void audit(const struct writing *w, const char *outcome)
{
    const struct collect_host *host = &w->line->collect->host;
    host->audit(host->arg, w->request->user, w->device_name, w->point_name, w->value_text,
                w->request->reason, outcome);
}

/* Ends the write: answer, audit, memory. */
static void finish(struct writing *w, enum err err, const char *text)
{
    struct collect_write *request = w->request;
    struct why why = WHY_NONE;
    if (err) {
        (void)why_set(&why, err, "device %s: point %s: %s", w->device_name, w->point_name, text);
        metric_add(w->line->collect->context, METRIC_COLLECT_WRITE_ERRORS, 1);
    } else {
        metric_add(w->line->collect->context, METRIC_COLLECT_WRITES, 1);
    }
    audit(w, err ? why.text : "ok");
    w->line->running_count--;
    mem_free(w);
    completion_finish(&request->completion, err, &why);
}

static void note_read_back(struct writing *w, const struct answer *answer)
{
    struct millrace_value raw;
    char scratch[MILLRACE_SCRATCH_BYTES];
    struct collect_write *request = w->request;
    if (w->line->config.driver->decode(&w->point->at, w->ask.span.first, answer->payload,
                                       answer->payload_bytes, scratch, &raw))
        return;
    request->read_back = point_convert(w->point, &raw);
    request->has_read_back = !request->read_back.is_null;
    if (w->point->convert != POINT_SLICE || request->read_back.is_null) return;
    bool is_whole = str_copy(request->text, sizeof request->text, request->read_back.s);
    size_t size = is_whole ? request->read_back.s.size : sizeof request->text - 1;
    request->read_back.s = (struct str){request->text, size}; /* bytes may hold zeros */
}

void write_answer(struct ask *ask, const struct answer *answer)
{
    struct writing *w = ask->writing;
    struct line *line = w->line;
    if (ask->kind == ASK_READ_BACK) { /* the value is written, whatever becomes of reading it */
        if (!answer->err) note_read_back(w, answer);
        finish(w, ERR_OK, NULL);
        return;
    }
    if (answer->err) {
        finish(w, answer->err, answer->text);
        return;
    }
    w->request->time_ns = context_wall_ns(line->collect->context);
    if (answer->payload) { /* the driver read it back with the same request */
        note_read_back(w, answer);
        finish(w, ERR_OK, NULL);
        return;
    }
    if (!(w->point->at.flags & MILLRACE_READABLE)) {
        finish(w, ERR_OK, NULL);
        return;
    }
    struct ask again = {.kind = ASK_READ_BACK,
                        .span = ask->span,
                        .station = ask->station,
                        .insists = true,
                        .writing = w,
                        .point = ask->point};
    *ask = again;
    line_ask(line, ask, true);
}

/* ---- before it is sent ---- */

static enum err check(struct collect *collect, struct collect_write *request, struct line **line,
                      struct point **point, struct why *why)
{
    struct device *device = config_find_device(collect, request->ns, request->device, line);
    if (!device) return why_set(why, ERR_NOT_FOUND, "there is no such device");
    *point = config_find_point(device, request->point);
    if (!*point) return why_set(why, ERR_NOT_FOUND, "the device has no such point");
    if ((*point)->spec->access == POINT_ACCESS_READ)
        return why_set(why, ERR_READ_ONLY,
                       "the point is read only; its definition must say access: rw");
    if ((*point)->problem)
        return why_set(why, ERR_TYPE, "%s",
                       (*point)->problem_text ? (*point)->problem_text : "not valid");
    if (!((*point)->at.flags & MILLRACE_WRITABLE))
        return why_set(why, ERR_READ_ONLY, "%.*s cannot be written in the equipment",
                       (int)(*point)->spec->address.size, (*point)->spec->address.at);
    if (!line_is_up(*line))
        return why_set(why, ERR_CONNECT, "the connection is down: %.200s",
                       (*line)->stats.last_error);
    return ERR_OK;
}

/* A write that does not get as far as a line is audited all the same. */
static void refuse(struct collect *collect, struct collect_write *request, enum err err,
                   const struct why *why)
{
    char device[256], point[256], value[256];
    struct why whole = WHY_NONE;
    (void)str_copy(device, sizeof device, request->device);
    (void)str_copy(point, sizeof point, request->point);
    (void)str_copy(value, sizeof value, request->value);
    (void)why_set(&whole, err, "device %s: point %s: %s", device, point, why_text(why, err));
    metric_add(collect->context, METRIC_COLLECT_WRITE_ERRORS, 1);
    collect->host.audit(collect->host.arg, request->user, device, point, value, request->reason,
                        whole.text);
    completion_finish(&request->completion, err, &whole);
}

void collect_write(struct collect *collect, struct collect_write *request)
{
    struct line *line = NULL;
    struct point *point = NULL;
    struct millrace_value raw;
    struct why why = WHY_NONE;
    request->has_read_back = false;
    request->time_ns = 0;
    enum err err = check(collect, request, &line, &point, &why);
    if (!err) err = point_parse_value(point, request->value, &raw, &request->written, &why);
    struct writing *w = err ? NULL : mem_alloc_zero(1, sizeof *w);
    if (!err && !w) err = ERR_NO_MEMORY;
    if (err) {
        refuse(collect, request, err, &why);
        return;
    }
    MUST(line && point);
    *w = (struct writing){.request = request, .line = line, .point = point, .raw = raw};
    w->ask =
        (struct ask){.kind = ASK_WRITE,
                     .span = {point->at.station, point->at.area, point->at.first, point->at.count},
                     .station = point->station,
                     .insists = true,
                     .writing = w,
                     .point = point};
    (void)str_copy(w->device_name, sizeof w->device_name, request->device);
    (void)str_copy(w->point_name, sizeof w->point_name, request->point);
    (void)str_copy(w->value_text, sizeof w->value_text, request->value);
    line->running_count++; /* keeps the devices in place */
    audit(w, "sent");
    line_ask(line, &w->ask, true);
    line_pump(line);
}
