/* shell_help.c - what \h shows: the forms of the statements, as one table; see shell.h. The
 * functions have a reference of their own (\df, SHOW FUNCTIONS). */
#include "cli/shell.h"
#include <string.h>

static const struct {
    const char *name, *form;
} statements[] = {
    {"ALTER TABLE",
     "ALTER TABLE t ADD COLUMN c type | RENAME COLUMN c TO d | ALTER COLUMN c TYPE type"},
    {"CHECKPOINT", "CHECKPOINT   (writes what is in memory to parts)"},
    {"COMMENT", "COMMENT ON TABLE t | COLUMN t.c IS 'text'"},
    {"CREATE TABLE", "CREATE TABLE [IF NOT EXISTS] t (c type, …)"},
    {"CREATE VIEW", "CREATE [OR REPLACE] VIEW v AS SELECT …"},
    {"DELETE", "DELETE FROM t [WHERE condition]"},
    {"DESCRIBE", "DESCRIBE t"},
    {"DROP TABLE", "DROP TABLE [IF EXISTS] t"},
    {"DROP VIEW", "DROP VIEW [IF EXISTS] v"},
    {"EXPLAIN", "EXPLAIN [ANALYZE] SELECT …"},
    {"INSERT",
     "INSERT INTO t (time, device, c, …) VALUES (…), (…)\n  INSERT INTO t (time, device, c, …) SELECT …"},
    {"SELECT",
     "[WITH name AS (SELECT …)]\n  SELECT [DISTINCT [ON (…)]] expression [AS name], …\n"
     "  FROM t [AS a] [[LEFT | RIGHT | FULL | CROSS | ASOF] JOIN u ON … | USING (…) [TOLERANCE 10s]]\n"
     "  [WHERE condition] [GROUP BY …] [HAVING condition]\n"
     "  [PARTITION BY device] [WINDOW TUMBLE(1m) | HOP(…) | SLIDE(…) | SESSION(…) | COUNT(…) | STATE(…) | EVENT(…)]\n"
     "  [FILL(prev | next | linear | null | constant)]\n"
     "  [UNION [ALL] | EXCEPT | INTERSECT SELECT …] [ORDER BY …] [LIMIT n [OFFSET m]]"},
    {"SHOW", "SHOW TABLES | FUNCTIONS | HEALTH"},
    {"CONFIRM", "CONFIRM CLOCK   (the clock is right: retention goes on)"},
    {"VACUUM", "VACUUM   (CHECKPOINT, then small parts are merged)"},
};
enum { STATEMENT_COUNT = sizeof statements / sizeof statements[0] };

void shell_print_statements(FILE *to, struct str name)
{
    bool is_found = false;
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        struct str own = str_of(statements[i].name);
        if (own.size > name.size) own.size = name.size;
        char wanted[32];
        if (!str_copy(wanted, sizeof wanted, name) || !str_is_nocase(own, wanted)) continue;
        is_found = true;
        if (name.size)
            fprintf(to, "%s\n  %s\n", statements[i].name, statements[i].form);
        else
            fprintf(to, "%s%s", statements[i].name, i + 1 < STATEMENT_COUNT ? ", " : "\n");
    }
    if (!is_found) fprintf(to, "no statement begins like that; \\h lists them\n");
}
