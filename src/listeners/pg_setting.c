/* pg_setting.c - the settings of a session: SET, SHOW, start-up parameters.
 *
 * Clients set what PostgreSQL has. What has no meaning here is kept and shown again, so that a
 * driver finds what it put there; what would change how values look and cannot be had (another
 * encoding, another style of dates) is refused, or taken with a note that says what happens
 * instead. Nothing is ever pretended: SHOW and ParameterStatus give what is in force. */
#include "listeners/pg_priv.h"
#include "base/num.h"
#include "listeners/zone_file.h"
#include "sql/grid.h"
#include "sql/parse.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *value;
    unsigned flags;
} settings[PG_SETTING_COUNT] = {
#define X(symbol, name, value, flags) [PG_SETTING_##symbol] = {name, value, flags},
    PG_SETTING_TABLE(X)
#undef X
};

/* A zone and where its transitions lie. */
struct pg_zone {
    struct arena arena;
    struct zone zone;
    char name[ZONE_NAME_BYTES_MAX + 1];
};

static void zone_drop(struct pg_zone *zone)
{
    if (!zone) return;
    arena_free(&zone->arena);
    mem_free(zone);
}

int pg_setting_find(struct str name)
{
    for (int i = 0; i < PG_SETTING_COUNT; i++)
        if (str_is_nocase(name, settings[i].name)) return i;
    return -1;
}

const char *pg_setting_name(enum pg_setting setting)
{
    MUST(setting < PG_SETTING_COUNT);
    return settings[setting].name;
}

const char *pg_setting_get(const struct pg_settings *s, enum pg_setting setting)
{
    MUST(setting < PG_SETTING_COUNT);
    return s->values[setting] ? s->values[setting] : settings[setting].value;
}

void pg_settings_free(struct pg_settings *s)
{
    for (int i = 0; i < PG_SETTING_COUNT; i++) {
        mem_free(s->values[i]);
        mem_free(s->before[i]);
    }
    zone_drop(s->zone);
    *s = (struct pg_settings){0};
}

void pg_settings_report(const struct pg_settings *s, struct buf *out)
{
    for (int i = 0; i < PG_SETTING_COUNT; i++)
        if (settings[i].flags & PG_SETTING_REPORT)
            pg_parameter_status(out, settings[i].name, pg_setting_get(s, (enum pg_setting)i));
}

/* ---- those whose value means something ---- */

/* Gives what is in force; NULL = as asked. */
typedef enum err check_setting(struct pg_session *s, struct str value, const char **in_force,
                               const char **note, struct why *why);

static enum err check_encoding(struct pg_session *s, struct str value, const char **in_force,
                               const char **note, struct why *why)
{
    static const char *const names[] = {"utf8", "utf-8", "unicode", "sql_ascii"};
    (void)s;
    (void)note;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_is_nocase(value, names[i])) {
            *in_force = "UTF8";
            return ERR_OK;
        }
    return why_set(why, ERR_INVALID, "client_encoding: only UTF8 is offered");
}

static enum err check_date_style(struct pg_session *s, struct str value, const char **in_force,
                                 const char **note, struct why *why)
{
    (void)s;
    (void)why;
    *in_force = "ISO, MDY";
    if (value.size < 3 || !str_is_nocase((struct str){value.at, 3}, "iso"))
        *note = "times are always shown in ISO style";
    return ERR_OK;
}

static enum err check_standard_strings(struct pg_session *s, struct str value,
                                       const char **in_force, const char **note, struct why *why)
{
    struct value v;
    (void)s;
    (void)note;
    *in_force = "on";
    if (value_parse(value, TYPE_BOOL, &v, NULL) == ERR_OK && v.b) return ERR_OK;
    return why_set(why, ERR_INVALID, "standard_conforming_strings: only on is offered");
}

static enum err check_bytea(struct pg_session *s, struct str value, const char **in_force,
                            const char **note, struct why *why)
{
    (void)s;
    (void)in_force;
    (void)note;
    return str_is_nocase(value, "hex")
               ? ERR_OK
               : why_set(why, ERR_INVALID, "bytea_output: only hex is offered");
}

static void use_zone(struct pg_session *s, struct pg_zone *zone)
{
    zone_drop(s->settings.zone);
    s->settings.zone = zone;
    s->style.zone = zone ? &zone->zone : NULL;
}

/* Offsets may come as a number of hours ("SET TIME ZONE 8"); east is positive (ISO 8601). */
static enum err check_time_zone(struct pg_session *s, struct str value, const char **in_force,
                                const char **note, struct why *why)
{
    static const char *const utc[] = {"utc", "gmt", "z", "zulu", "uct", "universal", "greenwich"};
    const struct sql_context files = {.zone_load = zone_file_read, .zone_context = s->os};
    bool is_number = value.size && value.at[0] >= '0' && value.at[0] <= '9';
    bool is_utc = str_is(value, "0");
    (void)note;
    for (size_t i = 0; i < sizeof utc / sizeof utc[0]; i++) is_utc |= str_is_nocase(value, utc[i]);
    if (is_utc) {
        use_zone(s, NULL);
        return ERR_OK;
    }
    struct pg_zone *made = mem_alloc_zero(1, sizeof *made);
    if (!made) return why_set(why, ERR_NO_MEMORY, "no memory for a time zone");
    arena_init(&made->arena, NULL);
    int n = snprintf(made->name, sizeof made->name, "%s%.*s", is_number ? "+" : "",
                     (int)(value.size > ZONE_NAME_BYTES_MAX ? 0 : value.size), value.at);
    enum err err = n <= ZONE_NAME_BYTES_MAX
                       ? zone_read(&files, str_of(made->name), &made->arena, &made->zone, why)
                       : why_set(why, ERR_INVALID, "the time zone's name is too long");
    if (err) {
        zone_drop(made);
        return err;
    }
    use_zone(s, made);
    *in_force = made->name;
    return ERR_OK;
}

struct str pg_settings_zone(const struct pg_settings *s)
{
    return s->zone ? str_of(s->zone->name) : STR("");
}

/* "5s", "200ms", "1 min", a plain number in ms; 0 = none. */
static bool read_timeout(struct str value, int64_t *ns)
{
    int64_t ms;
    if (num_parse_i64(str_trim(value), &ms)) {
        *ns = ms < INT64_MAX / 1000000 ? ms * 1000000 : INT64_MAX;
        return ms >= 0;
    }
    return sql_parse_interval(value, ns) && *ns >= 0;
}

static enum err check_statement_timeout(struct pg_session *s, struct str value,
                                        const char **in_force, const char **note, struct why *why)
{
    int64_t ns;
    (void)in_force;
    (void)note;
    if (!read_timeout(value, &ns))
        return why_set(why, ERR_INVALID,
                       "invalid value for parameter \"statement_timeout\"; write it like '5s' or "
                       "5000 for milliseconds");
    s->settings.statement_timeout_ns = ns;
    return ERR_OK;
}

static enum err check_timeout(struct pg_session *s, struct str value, const char **in_force,
                              const char **note, struct why *why)
{
    (void)s;
    (void)in_force;
    (void)why;
    if (!str_is(value, "0")) *note = "this timeout is kept but not looked at: nothing is locked";
    return ERR_OK;
}

static const struct {
    enum pg_setting setting;
    check_setting *check;
} checks[] = {
    {PG_SETTING_CLIENT_ENCODING, check_encoding},
    {PG_SETTING_DATE_STYLE, check_date_style},
    {PG_SETTING_STANDARD_STRINGS, check_standard_strings},
    {PG_SETTING_BYTEA_OUTPUT, check_bytea},
    {PG_SETTING_TIME_ZONE, check_time_zone},
    {PG_SETTING_STATEMENT_TIMEOUT, check_statement_timeout},
    {PG_SETTING_LOCK_TIMEOUT, check_timeout},
    {PG_SETTING_IDLE_TIMEOUT, check_timeout},
};

static enum err set(struct pg_session *s, enum pg_setting setting, struct str value,
                    const char **note, struct why *why)
{
    const char *in_force = NULL;
    enum err err = ERR_OK;
    MUST(setting < PG_SETTING_COUNT);
    *note = NULL;
    if (settings[setting].flags & PG_SETTING_FIXED)
        return why_set(why, ERR_READ_ONLY, "parameter \"%s\" cannot be changed",
                       settings[setting].name);
    if (value.size > 255 || !str_is_utf8(value))
        return why_set(why, ERR_INVALID, "invalid value for parameter \"%s\"",
                       settings[setting].name);
    bool is_default = !value.at || str_is_nocase(value, "default");
    if (is_default) value = str_of(settings[setting].value);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && !err; i++)
        if (checks[i].setting == setting) err = checks[i].check(s, value, &in_force, note, why);
    if (err) return err;
    char text[256];
    (void)str_copy(text, sizeof text, in_force ? str_of(in_force) : value);
    char *copy = is_default ? NULL : mem_strdup(text);
    if (!copy && !is_default) return why_set(why, ERR_NO_MEMORY, "no memory for a setting");
    mem_free(s->settings.values[setting]);
    s->settings.values[setting] = copy;
    return ERR_OK;
}

static void forget_local(struct pg_settings *s, enum pg_setting setting)
{
    mem_free(s->before[setting]);
    s->before[setting] = NULL;
    s->is_local[setting] = false;
}

enum err pg_setting_set(struct pg_session *s, enum pg_setting setting, struct str value,
                        const char **note, struct why *why)
{
    enum err err = set(s, setting, value, note, why);
    if (!err) forget_local(&s->settings, setting);
    return err;
}

enum err pg_setting_set_local(struct pg_session *s, enum pg_setting setting, struct str value,
                              const char **note, struct why *why)
{
    struct pg_settings *all = &s->settings;
    *note = NULL;
    if (s->transaction == 'I') return ERR_OK;
    if (all->is_local[setting]) return set(s, setting, value, note, why);
    char *before = all->values[setting] ? mem_strdup(all->values[setting]) : NULL;
    if (all->values[setting] && !before)
        return why_set(why, ERR_NO_MEMORY, "no memory for a setting");
    enum err err = set(s, setting, value, note, why);
    if (err) {
        mem_free(before);
        return err;
    }
    all->before[setting] = before;
    all->is_local[setting] = true;
    return ERR_OK;
}

void pg_settings_end_block(struct pg_session *s, struct buf *out)
{
    const char *note;
    for (int i = 0; i < PG_SETTING_COUNT; i++) {
        if (!s->settings.is_local[i]) continue;
        char *before = s->settings.before[i];
        struct str value = before ? str_of(before) : (struct str){0};
        if (set(s, (enum pg_setting)i, value, &note, NULL)) /* a zone whose file is gone */
            (void)set(s, (enum pg_setting)i, (struct str){0}, &note, NULL);
        forget_local(&s->settings, (enum pg_setting)i);
        if (settings[i].flags & PG_SETTING_REPORT)
            pg_parameter_status(out, settings[i].name,
                                pg_setting_get(&s->settings, (enum pg_setting)i));
    }
}

void pg_settings_reset(struct pg_session *s)
{
    const char *note;
    for (int i = 0; i < PG_SETTING_COUNT; i++)
        if (!(settings[i].flags & PG_SETTING_FIXED))
            (void)pg_setting_set(s, (enum pg_setting)i, (struct str){0}, &note, NULL);
}
