/* pg_priv.h - what the files of the PostgreSQL listener share.
 *
 * pg_server.c listens, counts and looks at the clock; pg_connection.c turns bytes into messages and
 * gives each to the state that the connection is in; pg_login.c is everything before READY;
 * pg_simple.c and pg_extended.c are the two ways to run statements; pg_portal.c runs one through
 * query.h; pg_command.c has the statements that concern the session and never reach the engine,
 * pg_prepare.c those of them about prepared statements;
 * pg_setting.c its settings; pg_copy*.c COPY; pg_catalog*.c the relations that clients look into.
 */
#ifndef LISTENERS_PG_PRIV_H
#define LISTENERS_PG_PRIV_H

#include "access/scram_server.h"
#include "listeners/pg.h"
#include "listeners/pg_type.h"
#include "listeners/pg_wire.h"
#include "listeners/query.h"
#include "listeners/sessions.h"
#include "net/door.h"
#include "net/tls.h"
#include "sql/lex.h"

enum {
    PG_SERVER_MAGIC = 0x70677376,
    PG_CONNECTION_MAGIC = 0x7067636e,
    PG_KEPT_BYTES = 64 * 1024,    /* of input while busy; then the peer is stopped */
    PG_QUEUED_BYTES = 512 * 1024, /* of output: above it a statement waits for the peer */
    PG_OUT_BYTES = 32 * 1024,     /* small messages are gathered up to this */
    PG_NAME_BYTES = 64,           /* of statements and portals, as PostgreSQL's NAMEDATALEN */
    PG_NS_BYTES = 256,
};

/* X(symbol): the life of a connection, see pg.h. */
#define PG_STATE_TABLE(X)                                                                          \
    X(START)                                                                                       \
    X(SASL)                                                                                        \
    X(PROOF)                                                                                       \
    X(PASSWORD)                                                                                    \
    X(CHECKING)                                                                                    \
    X(READY)                                                                                       \
    X(BUSY)                                                                                        \
    X(SKIP)                                                                                        \
    X(COPY)                                                                                        \
    X(CLOSING)
enum pg_state {
#define X(symbol) PG_STATE_##symbol,
    PG_STATE_TABLE(X)
#undef X
        PG_STATE_COUNT
};

struct pg_server {
    unsigned magic;
    struct service *service;
    struct tls_config *tls; /* NULL: none */
    bool tls_only;
    struct door door;
    bool is_running;        /* until pg_server_stop */
    struct os_timer *timer; /* runs while there are connections */
    struct pg_connection *connections;
    size_t connection_count;
    uint32_t last_pid;
    struct budget memory; /* input that is kept */
};

struct pg_login;
struct pg_session;

struct pg_connection {
    unsigned magic;
    struct pg_server *server;
    struct pg_connection *next, *previous;
    struct os_stream *stream; /* NULL: gone; what runs for it ends and frees it */
    enum pg_state state;
    bool is_tls, is_paused;
    unsigned entered, held; /* calls under way; operations that will come back */
    struct pg_reader reader;
    struct buf in; /* not taken yet */
    size_t in_taken;
    struct buf out;      /* not yet with the stream */
    int64_t deadline_ns; /* of the login, or of a peer that takes nothing; 0 = none */
    size_t queued_before;
    int64_t connected_ns;       /* wall clock */
    uint32_t pid, secret;       /* what a cancel request names */
    struct pg_login *login;     /* until READY */
    struct pg_session *session; /* from READY on */
};

/* ---- pg_connection.c ---- */

void pg_connection_accept(struct pg_server *server, struct os_stream *stream);
/* Every call from outside stands between these two; memory goes when the last has left. */
void pg_enter(struct pg_connection *c);
void pg_leave(struct pg_connection *c);
/* Closes at once. */
void pg_cut(struct pg_connection *c);
/* Sends what was gathered. */
void pg_flush(struct pg_connection *c);
/* Sends bytes behind what was gathered; true: the peer is slow, wait for on_drained. */
bool pg_send(struct pg_connection *c, struct str bytes);
/* FATAL error: told, then closed. */
void pg_fatal(struct pg_connection *c, const char *sqlstate, const char *text);
/* A byte stream wrapped in TLS takes the place of the plain one. */
void pg_use_stream(struct pg_connection *c, struct os_stream *stream);
/* Goes on with what was kept; called when a state that takes nothing ends. */
void pg_resume(struct pg_connection *c, enum pg_state state);

/* ---- pg_server.c ---- */
void pg_server_add(struct pg_server *server, struct pg_connection *c);
void pg_server_remove(struct pg_server *server, struct pg_connection *c);
/* Cancels what the connection with this key runs; an unknown key, and one that runs nothing, is
 * passed over. */
void pg_server_cancel(struct pg_server *server, uint32_t pid, uint32_t secret);

/* ---- pg_login.c ---- */
void pg_login_start(struct pg_connection *c, const struct pg_message *message);
void pg_login_sasl(struct pg_connection *c, const struct pg_message *message);
void pg_login_proof(struct pg_connection *c, const struct pg_message *message);
void pg_login_password(struct pg_connection *c, const struct pg_message *message);
void pg_login_free(struct pg_connection *c);

/* ---- pg_setting.c ---- */

/* X(symbol, name, default, flags). Those reported go to the client at start and when they change.
 */
#define PG_SETTING_TABLE(X)                                                                        \
    X(APPLICATION_NAME, "application_name", "", PG_SETTING_REPORT)                                 \
    X(BYTEA_OUTPUT, "bytea_output", "hex", 0)                                                      \
    X(CLIENT_ENCODING, "client_encoding", "UTF8", PG_SETTING_REPORT)                               \
    X(CLIENT_MIN_MESSAGES, "client_min_messages", "notice", 0)                                     \
    X(DATE_STYLE, "DateStyle", "ISO, MDY", PG_SETTING_REPORT)                                      \
    X(ISOLATION, "default_transaction_isolation", "read committed", 0)                             \
    X(DEFAULT_READ_ONLY, "default_transaction_read_only", "off", PG_SETTING_REPORT)                \
    X(EXTRA_FLOAT, "extra_float_digits", "1", 0)                                                   \
    X(HOT_STANDBY, "in_hot_standby", "off", PG_SETTING_REPORT | PG_SETTING_FIXED)                  \
    X(INTEGER_DATETIMES, "integer_datetimes", "on", PG_SETTING_REPORT | PG_SETTING_FIXED)          \
    X(INTERVAL_STYLE, "IntervalStyle", "postgres", PG_SETTING_REPORT)                              \
    X(IS_SUPERUSER, "is_superuser", "off", PG_SETTING_REPORT | PG_SETTING_FIXED)                   \
    X(LC_COLLATE, "lc_collate", "C", PG_SETTING_FIXED)                                             \
    X(LC_CTYPE, "lc_ctype", "C", PG_SETTING_FIXED)                                                 \
    X(LOCK_TIMEOUT, "lock_timeout", "0", 0)                                                        \
    X(IDLE_TIMEOUT, "idle_in_transaction_session_timeout", "0", 0)                                 \
    X(MAX_IDENTIFIER, "max_identifier_length", "255", PG_SETTING_FIXED)                            \
    X(MAX_INDEX_KEYS, "max_index_keys", "32", PG_SETTING_FIXED)                                    \
    X(SEARCH_PATH, "search_path", "public", 0)                                                     \
    X(SERVER_ENCODING, "server_encoding", "UTF8", PG_SETTING_REPORT | PG_SETTING_FIXED)            \
    X(SERVER_VERSION, "server_version", "14.0 (Millrace " MILLRACE_VERSION ")",                    \
      PG_SETTING_REPORT | PG_SETTING_FIXED)                                                        \
    X(SERVER_VERSION_NUM, "server_version_num", "140000", PG_SETTING_FIXED)                        \
    X(SESSION_AUTHORIZATION, "session_authorization", "", PG_SETTING_REPORT | PG_SETTING_FIXED)    \
    X(STANDARD_STRINGS, "standard_conforming_strings", "on", PG_SETTING_REPORT)                    \
    X(STATEMENT_TIMEOUT, "statement_timeout", "0", 0)                                              \
    X(TIME_ZONE, "TimeZone", "UTC", PG_SETTING_REPORT)                                             \
    X(ISOLATION_NOW, "transaction_isolation", "read committed", 0)                                 \
    X(READ_ONLY, "transaction_read_only", "off", 0)

enum pg_setting_flag { PG_SETTING_REPORT = 1, PG_SETTING_FIXED = 2 };
enum pg_setting {
#define X(symbol, name, value, flags) PG_SETTING_##symbol,
    PG_SETTING_TABLE(X)
#undef X
        PG_SETTING_COUNT
};

/* Values that differ from the default; owned. */
struct pg_settings {
    char *values[PG_SETTING_COUNT];
    char *before[PG_SETTING_COUNT]; /* what SET LOCAL replaced; NULL = the default; owned */
    bool is_local[PG_SETTING_COUNT];
    struct pg_zone *zone; /* of TimeZone; NULL: UTC; owned */
    int64_t statement_timeout_ns;
};
void pg_settings_free(struct pg_settings *settings);
void pg_settings_reset(struct pg_session *session); /* all to their defaults */
int pg_setting_find(struct str name);               /* -1: unknown; ASCII case folded */
const char *pg_setting_name(enum pg_setting setting);
const char *pg_setting_get(const struct pg_settings *settings, enum pg_setting setting);
/* Sets (value.at NULL = the default). Errors: READ_ONLY, INVALID with what is allowed. A value that
 * is taken in another way than asked leaves the reason in `note` (static text, or NULL). */
enum err pg_setting_set(struct pg_session *session, enum pg_setting setting, struct str value,
                        const char **note, struct why *why);
/* The same until the transaction block ends. Outside of one nothing is set, as in PostgreSQL. */
enum err pg_setting_set_local(struct pg_session *session, enum pg_setting setting, struct str value,
                              const char **note, struct why *why);
/* The block ends: what SET LOCAL replaced is in force again, and is reported. */
void pg_settings_end_block(struct pg_session *session, struct buf *out);
struct str pg_settings_zone(const struct pg_settings *settings); /* in force; empty = UTC */
void pg_settings_report(const struct pg_settings *settings, struct buf *out);

/* ---- the session ---- */

struct pg_statement {
    struct pg_statement *next;
    char name[PG_NAME_BYTES];
    char *text; /* owned, terminated */
    size_t size;
    const struct pg_command *command; /* NULL: the engine's */
    size_t param_count;
    uint32_t params[PG_PARAMS_MAX]; /* object ids */
    uint64_t declared;              /* those whose type PREPARE said: bit i */
    bool is_new;                    /* Parse is not answered yet */
    void (*after_description)(struct pg_connection *c, struct pg_statement *statement);
    bool is_described; /* the engine has accepted it */
    bool has_rows;     /* … and it gives these */
    size_t column_count;
    struct pg_column {
        char *name; /* owned */
        const struct pg_type *type;
    } * columns;
};

/* How far a portal has come. */
enum pg_portal_state {
    PORTAL_NEW,      /* nothing has been asked of the engine */
    PORTAL_PREPARED, /* on_prepared has come; columns are known */
    PORTAL_RUNNING,
    PORTAL_PAUSED, /* the row limit was reached: rows wait, or the statement does */
    PORTAL_OVER,   /* all rows are given */
};

/* One statement being run: of a simple query, of Bind, a cursor, COPY's query. */
struct pg_portal {
    struct query query; /* first */
    struct pg_connection *connection;
    struct pg_portal *next;
    char name[PG_NAME_BYTES];
    char *text;         /* owned; what query.text is */
    struct arena arena; /* parameters and formats */
    enum pg_portal_state state;
    const struct pg_command *command;
    struct pg_statement *statement;     /* the unnamed one parsed just before, or being described */
    const struct pg_row_format *format; /* of COPY; NULL = DataRow */
    void *format_arg;
    size_t format_count;
    const uint8_t *formats;
    const struct pg_type **types; /* of the columns, once they are known */
    bool is_cursor;               /* of DECLARE: FETCH finds it; stays when Sync comes */
    bool is_held;                 /* … and when the transaction ends */
    bool is_quiet;                /* no CommandComplete: something follows */
    bool wants_columns;           /* RowDescription before the rows: simple queries, FETCH */
    bool waits;                   /* for a slow peer */
    bool is_finished;             /* the engine will give no more; rows may be left in the answer */
    uint32_t text_offset;         /* of the statement in the client's text, for error positions */
    size_t sent;                  /* bytes of the answer that are with the peer */
    uint64_t row_limit, row_count; /* of this run; 0 = all */
    uint64_t given;                /* rows in the runs before */
    const char *tag_word;          /* "FETCH" instead of "SELECT" */
    int64_t paused_ns;
    void (*done)(struct pg_portal *portal, enum err err, const struct why *why);
    void (*prepared)(struct pg_portal *portal);
};

struct pg_simple;
struct pg_copy;

struct pg_session {
    struct session entry; /* of sys.sessions */
    struct pg_connection *connection;
    struct os *os; /* where time zones come from */
    struct identity *identity;
    uint64_t epoch; /* of access, when the identity was looked at */
    char user[ACCESS_USER_BYTES], ns[PG_NS_BYTES];
    struct pg_settings settings;
    struct pg_style style;
    char transaction; /* 'I', 'T', 'E' */
    uint64_t written; /* rows and tables changed since BEGIN */
    struct pg_statement *statements;
    size_t statement_count;
    struct pg_portal *portals;
    size_t portal_count;
    struct pg_portal *running; /* at work now */
    int64_t running_ns;        /* wall clock since when */
    struct pg_simple *simple;  /* the Query being worked through */
    struct pg_copy *copy;
};

/* Into the list of who is connected. */
void pg_session_tell(struct pg_connection *c);
void pg_session_free(struct pg_connection *c);
/* Before each Query, Parse, Bind and Execute (not between the statements of one Query): false when
 * the login holds no longer; the connection is then closing. What was begun before goes on under
 * the rights that it began with, a cursor too. */
bool pg_session_renew(struct pg_connection *c);
/* Text of an error as the client gets it. `text` is what the position counts in. */
void pg_error(struct pg_connection *c, enum err err, const struct why *why, struct str text,
              uint32_t offset);
/* With another SQLSTATE than the error's; NULL: with its own. */
void pg_error_as(struct pg_connection *c, const char *sqlstate, enum err err, const struct why *why,
                 struct str text, uint32_t offset);
void pg_error_text(struct pg_connection *c, const char *sqlstate, const char *text);
void pg_notice(struct pg_connection *c, const char *severity, const char *sqlstate,
               const char *text);

/* ---- pg_simple.c ---- */
void pg_simple_start(struct pg_connection *c, struct str text);
/* The statement begun last is over (its CommandComplete is out), or failed (its error is out). */
void pg_simple_next(struct pg_connection *c, bool failed);
void pg_simple_free(struct pg_connection *c);
/* Finds the end of the statement that begins at lexer->at: true with its text without ';'. */
bool pg_split(struct lexer *lexer, struct str *statement, bool *found, struct why *why);

/* ---- pg_extended.c ---- */
void pg_extended(struct pg_connection *c, const struct pg_message *message);
/* As pg_simple_next. */
void pg_extended_next(struct pg_connection *c, bool failed);
/* Makes a statement of the session, without asking the engine. */
enum err pg_statement_make(struct pg_connection *c, const struct pg_parse *parse,
                           struct pg_statement **made, struct why *why);
/* Asks the engine about it; `after` answers the client, or the error is told (and a new statement
 * dropped), then pg_next. Error: nothing was begun. */
enum err pg_statement_describe(struct pg_connection *c, struct pg_statement *st, bool is_new,
                               void (*after)(struct pg_connection *, struct pg_statement *));
struct pg_statement *pg_statement_find(struct pg_session *s, struct str name);
void pg_statement_drop(struct pg_session *s, struct pg_statement *statement);
/* Whichever of the two ways is being gone. */
static inline void pg_next(struct pg_connection *c, bool failed)
{
    if (c->session->simple)
        pg_simple_next(c, failed);
    else
        pg_extended_next(c, failed);
}

/* ---- pg_portal.c ---- */

/* A portal for a text; NULL: no memory. It is in no list and ends with pg_portal_free. */
struct pg_portal *pg_portal_new(struct pg_connection *c, struct str text);
void pg_portal_free(struct pg_portal *portal);
/* Into the session's list (takes), which has no portal of this name and room for one more. */
void pg_portal_keep(struct pg_portal *portal);
struct pg_portal *pg_portal_find(struct pg_session *s, struct str name);
void pg_portal_drop(struct pg_session *s, struct pg_portal *portal); /* out of the list, freed */
/* Drops what ends with a transaction, or all. */
void pg_portals_end(struct pg_session *s, bool cursors_too);
/* Only parses and binds: portal->prepared or portal->done follow. */
void pg_portal_prepare(struct pg_portal *portal);
/* Gives up to `row_limit` rows (0 = all), then CommandComplete or PortalSuspended; portal->done
 * follows (an error is not yet told). The portal may be running when the connection goes. */
void pg_portal_run(struct pg_portal *portal, uint64_t row_limit);
/* The stream has room again. */
void pg_portal_drained(struct pg_portal *portal);
/* What runs on a worker sees it at its next chunk and ends with an error; what waits for the peer
 * ends here. Its `done` follows in any case. */
void pg_portal_cancel(struct pg_portal *portal);
/* RowDescription of its columns; a statement without rows: NoData if `or_none`. */
enum err pg_portal_describe(struct pg_portal *portal, struct buf *out, bool or_none,
                            struct why *why);
void pg_row_description(struct buf *out, const struct pg_column *columns, size_t count,
                        const struct pg_portal *formats);
/* How a row is written when it is not DataRow (COPY). On a worker. */
struct pg_row_format {
    void (*begin)(struct pg_portal *portal, struct buf *out);
    void (*row)(struct pg_portal *portal, struct buf *out, const struct value *values,
                size_t count);
    void (*end)(struct pg_portal *portal, struct buf *out);
};

/* ---- pg_command.c ---- */

struct pg_call {
    struct pg_connection *c;
    struct lexer lexer;             /* behind the command's words */
    struct str text;                /* the statement */
    uint32_t offset;                /* of it in the client's text */
    bool wants_columns;             /* RowDescription with the rows */
    const struct pg_portal *portal; /* of the extended protocol: whose formats count; or NULL */
    const char *sqlstate;           /* of an error, when its code has another one; or NULL */
    bool is_later;                  /* set by the command: it goes on and calls pg_next itself */
    const char *tag;                /* of CommandComplete; the command may say another */
};

struct pg_command {
    const char *words; /* "start transaction" */
    const char *tag;
    /* Allowed in a failed transaction block. */
    bool in_failed;
    enum err (*run)(struct pg_call *call, struct why *why);
    /* Name of its one text column; NULL = it gives no rows. */
    const char *(*column)(struct pg_call *call);
    /* The statement whose rows it gives (it may not exist); NULL = it gives none. */
    const struct pg_statement *(*rows)(struct pg_call *call);
};
/* The command that a statement is, or NULL: the engine's. */
const struct pg_command *pg_command_find(struct str text);
/* The statement whose rows it will give; NULL: none. */
const struct pg_statement *pg_command_rows(const struct pg_command *command, struct pg_call *call);
/* Runs it: everything is sent but errors. */
enum err pg_command_run(const struct pg_command *command, struct pg_call *call, struct why *why);
/* "CREATE TABLE", "SELECT 3": what a statement of the engine is called when it is done. */
void pg_tag(struct str text, uint64_t rows, char tag[64]);

/* The words behind a command's. */
bool pg_accept(struct pg_call *call, const char *word); /* takes it when it is there */
bool pg_at_end(struct pg_call *call);
enum err pg_expected(struct pg_call *call, const char *what, struct why *why);
/* A name, folded or unquoted, or a string's text; false when there is none or it is too long. */
bool pg_take_text(struct pg_call *call, char *out, size_t out_bytes);

/* ---- pg_prepare.c ---- */
enum err pg_prepare_run(struct pg_call *call, struct why *why);
enum err pg_execute_run(struct pg_call *call, struct why *why);
const struct pg_statement *pg_execute_rows(struct pg_call *call);
enum err pg_deallocate_run(struct pg_call *call, struct why *why);
enum err pg_discard_run(struct pg_call *call, struct why *why);

/* ---- pg_copy.c ---- */
enum err pg_copy_run(struct pg_call *call, struct why *why); /* COPY … */
void pg_copy_message(struct pg_connection *c, const struct pg_message *message);
void pg_copy_cancel(struct pg_connection *c);
void pg_copy_free(struct pg_connection *c);
/* Gives up its place among those that wait for memory; its error, or the end of the connection,
 * comes behind. */
void pg_copy_gone(struct pg_connection *c);

#endif
