/* audit_rate.c - see audit_rate.h.
 *
 * Called by login_lines.c for logins that are accepted and by the listeners for what they refuse;
 * by the beat of listeners/status.c, so that the sums reach the log also when nothing comes any
 * more. Owns nothing; it lives in struct service. Invariant: what was added and not written stands
 * in exactly one of `sums` and `others`. */
#include "access/audit_rate.h"
#include "base/hash.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

/* Not in the middle of a UTF-8 character. */
static struct str cut(struct str text, size_t limit)
{
    if (text.size <= limit) return text;
    text.size = limit;
    while (text.size && ((unsigned char)text.at[text.size] & 0xc0) == 0x80) text.size--;
    return text;
}

static enum err write_sum(struct audit_rate *r, struct audit *audit, struct str user,
                          struct str verb, uint64_t *count)
{
    char detail[64];
    if (!*count) return ERR_OK;
    snprintf(detail, sizeof detail, "%llu more in one minute", (unsigned long long)*count);
    struct audit_entry entry = {.user = user,
                                .verb = verb,
                                .detail = str_of(detail),
                                .outcome = str_of(r->outcome ? r->outcome : "refused")};
    enum err err = audit_append(audit, &entry);
    if (!err || err == ERR_IO) *count = 0; /* IO: queued, and tried all the same */
    return err;
}

enum err audit_rate_flush(struct audit_rate *r, struct audit *audit)
{
    enum err first = ERR_OK;
    MUST(audit);
    for (size_t i = 0; i < AUDIT_RATE_SUMS; i++) {
        struct audit_rate_sum *sum = &r->sums[i];
        enum err err = write_sum(r, audit, str_of(sum->user), str_of(sum->verb), &sum->count);
        if (!first) first = err;
    }
    enum err err = write_sum(r, audit, STR(""), STR("others"), &r->others);
    return first ? first : err;
}

enum err audit_rate_tick(struct audit_rate *r, struct audit *audit, int64_t mono_ns)
{
    MUST(audit && mono_ns >= r->minute_began_ns);
    if (mono_ns - r->minute_began_ns < 60 * TIME_NS_PER_S) return ERR_OK;
    r->minute_began_ns = mono_ns;
    memset(r->lines, 0, sizeof r->lines);
    return audit_rate_flush(r, audit);
}

static void count(struct audit_rate *r, const struct audit_entry *entry)
{
    struct audit_rate_sum *free = NULL;
    for (size_t i = 0; i < AUDIT_RATE_SUMS; i++) {
        struct audit_rate_sum *sum = &r->sums[i];
        if (!sum->count) {
            if (!free) free = sum;
        } else if (str_equal(str_of(sum->user), entry->user) &&
                   str_equal(str_of(sum->verb), entry->verb)) {
            sum->count++;
            return;
        }
    }
    bool is_named = free && str_copy(free->user, sizeof free->user, entry->user) &&
                    str_copy(free->verb, sizeof free->verb, entry->verb);
    if (is_named)
        free->count = 1;
    else
        r->others++;
}

enum err audit_rate_add(struct audit_rate *r, struct audit *audit, const struct audit_entry *entry,
                        int64_t mono_ns)
{
    enum err err = audit_rate_tick(r, audit, mono_ns);
    uint64_t hash = hash_64(entry->user.size ? entry->user.at : "", entry->user.size);
    uint8_t *lines = &r->lines[hash % AUDIT_RATE_BUCKETS];
    MUST(*lines <= AUDIT_RATE_LINES);
    if (*lines >= AUDIT_RATE_LINES) {
        count(r, entry);
        return err;
    }
    ++*lines;
    struct audit_entry short_entry = *entry;
    short_entry.detail = cut(entry->detail, AUDIT_RATE_DETAIL_BYTES);
    return audit_append(audit, &short_entry);
}
