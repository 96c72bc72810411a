/* login_lines.c - see login_lines.h.
 *
 * Called by the handler of /v1/login (listeners/api.c) for each login, and by the beat of
 * listeners/status.c, so that the counts reach the log also when nobody logs in any more. Owns
 * nothing; its few numbers live in struct service. */
#include "access/login_lines.h"
#include "base/timetext.h"
#include <stdio.h>

/* Not in the middle of a UTF-8 character. */
static struct str cut_user(struct str user)
{
    if (user.size <= LOGIN_LINE_USER_BYTES) return user;
    user.size = LOGIN_LINE_USER_BYTES;
    while (user.size && ((unsigned char)user.at[user.size] & 0xc0) == 0x80) user.size--;
    return user;
}

enum err login_lines_flush(struct login_lines *l, struct audit *audit)
{
    MUST(audit);
    l->accepted.outcome = "ok";
    enum err accepted = audit_rate_flush(&l->accepted, audit);
    if (!l->refused && !l->turned_away) return accepted;
    char detail[160];
    snprintf(
        detail, sizeof detail,
        "%llu more with a wrong user or password, %llu unchecked because too many came at once",
        (unsigned long long)l->refused, (unsigned long long)l->turned_away);
    struct audit_entry entry = {
        .verb = STR("login"), .detail = str_of(detail), .outcome = STR("refused")};
    enum err err = audit_append(audit, &entry);
    if (err && err != ERR_IO) return err; /* IO: queued, and tried all the same */
    l->refused = l->turned_away = 0;
    return err ? err : accepted;
}

enum err login_lines_tick(struct login_lines *l, struct audit *audit, int64_t mono_ns)
{
    MUST(audit && mono_ns >= l->minute_began_ns);
    MUST(l->line_count <= LOGIN_LINES_A_MINUTE);
    if (mono_ns - l->minute_began_ns < 60 * TIME_NS_PER_S) return ERR_OK;
    l->minute_began_ns = mono_ns;
    l->line_count = 0;
    return login_lines_flush(l, audit);
}

enum err login_lines_add(struct login_lines *l, struct audit *audit, const struct login_line *line)
{
    if (line->err == ERR_CANCELLED) return ERR_OK;
    enum err err = login_lines_tick(l, audit, line->mono_ns);
    if (line->err == ERR_BUSY) {
        l->turned_away++;
        return err;
    }
    if (line->err && l->line_count >= LOGIN_LINES_A_MINUTE) {
        l->refused++;
        return err;
    }
    if (line->err) l->line_count++;
    struct audit_entry entry = {.user = cut_user(line->user),
                                .verb = STR("login"),
                                .path = line->peer,
                                .outcome = line->err ? STR("refused") : STR("ok")};
    if (line->err) return audit_append(audit, &entry);
    l->accepted.outcome = "ok";
    return audit_rate_add(&l->accepted, audit, &entry, line->mono_ns);
}
