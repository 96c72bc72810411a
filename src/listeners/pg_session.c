/* pg_session.c - what lives from login to goodbye: rights, errors as the client reads them, the
 * end.
 */
#include "listeners/pg_priv.h"
#include <string.h>

static void describe(const struct session *entry, struct session_row *row)
{
    const struct pg_session *s =
        (const void *)((const char *)entry - offsetof(struct pg_session, entry));
    const struct pg_connection *c = s->connection;
    MUST(c->session == s);
    *row = (struct session_row){.user = str_of(s->user),
                                .address = str_of(c->stream ? os_stream_peer(c->stream) : ""),
                                .ns = str_of(s->ns)};
    if (!s->running) return;
    row->statement = s->running->query.text;
    row->statement_ns = s->running_ns;
}

void pg_session_tell(struct pg_connection *c)
{
    c->session->connection = c;
    session_add(c->server->service, &c->session->entry, "postgres", describe);
}

void pg_session_free(struct pg_connection *c)
{
    struct pg_session *s = c->session;
    if (!s) return;
    MUST(!s->running);
    session_remove(&s->entry);
    pg_simple_free(c);
    pg_copy_free(c);
    pg_portals_end(s, true);
    while (s->statements) pg_statement_drop(s, s->statements);
    pg_settings_free(&s->settings);
    identity_release(s->identity);
    c->session = NULL;
    mem_free(s);
}

bool pg_session_renew(struct pg_connection *c)
{
    struct pg_session *s = c->session;
    struct access *access = c->server->service->access;
    if (s->epoch == access_epoch(access) && !s->identity->by_token) return true;
    struct identity *now = access_renew(access, s->identity);
    if (!now) {
        pg_fatal(c, "28000", "your login holds no longer: log in again");
        return false;
    }
    identity_release(s->identity);
    s->identity = now;
    s->epoch = access_epoch(access);
    return true;
}

void pg_error_text(struct pg_connection *c, const char *sqlstate, const char *text)
{
    pg_report(&c->out, 'E', "ERROR", sqlstate, str_of(text), STR(""), 0);
    if (c->session && c->session->transaction == 'T') c->session->transaction = 'E';
}

/* Our messages say what is wrong, then the way out behind a semicolon: the client gets the latter
 * as the hint. */
void pg_error(struct pg_connection *c, enum err err, const struct why *why, struct str text,
              uint32_t offset)
{
    pg_error_as(c, NULL, err, why, text, offset);
}

void pg_error_as(struct pg_connection *c, const char *sqlstate, enum err err, const struct why *why,
                 struct str text, uint32_t offset)
{
    struct str message = str_of(why_text(why, err)), hint = {"", 0};
    unsigned position =
        why->position >= 0 && text.size ? pg_position(text, (int32_t)offset + why->position) : 0;
    char quote = 0; /* a text or name that is shown may have a semicolon of its own */
    for (size_t i = 0; i + 2 < message.size; i++) {
        char at = message.at[i];
        if (quote ? at == quote : at == '\'' || at == '"') quote = quote ? 0 : at;
        if (quote || at != ';' || message.at[i + 1] != ' ') continue;
        hint = (struct str){message.at + i + 2, message.size - i - 2};
        message.size = i;
    }
    if (err == ERR_CANCELLED) message = STR("canceling statement due to user request");
    pg_report(&c->out, 'E', "ERROR", sqlstate ? sqlstate : err_sqlstate(err), message, hint,
              position);
    if (c->session && c->session->transaction == 'T') c->session->transaction = 'E';
}

void pg_notice(struct pg_connection *c, const char *severity, const char *sqlstate,
               const char *text)
{
    pg_report(&c->out, 'N', severity, sqlstate, str_of(text), STR(""), 0);
}
