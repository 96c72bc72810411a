/* cmd_scan.c - `millrace scan CONNECTION [RANGE]`: which units and addresses answer.
 *
 * The node scans a piece at a time; this loop asks for the next one, so Ctrl-C ends a scan. Ranges
 * that the pieces cut in two are printed as one. */
#include "base/num.h"
#include "cli/equipment.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Cells found last, not printed yet: the next piece may go on with them. */
struct run {
    bool has;
    char unit[12], area[40], from[40], to[40];
    uint64_t next; /* the cell behind it */
};

struct scan {
    bool is_json, has_bar;
    struct run run;
    uint64_t cells, units;
};

static void copy_text(char *out, size_t out_bytes, const struct doc *find, const char *key)
{
    (void)str_copy(out, out_bytes, doc_text(doc_get(find, key)));
}

static uint64_t number(const struct doc *find, const char *key)
{
    uint64_t value = 0;
    (void)num_parse_u64(doc_text(doc_get(find, key)), &value);
    return value;
}

static void clear_bar(const struct scan *scan)
{
    if (scan->has_bar) fputs("\r\033[K", stderr);
}

static void print_run(struct scan *scan)
{
    struct run *run = &scan->run;
    if (!run->has) return;
    clear_bar(scan);
    if (strcmp(run->from, run->to) == 0)
        printf("unit %-4s %-17s %s\n", run->unit, run->area, run->from);
    else
        printf("unit %-4s %-17s %s … %s\n", run->unit, run->area, run->from, run->to);
    fflush(stdout);
    run->has = false;
}

static void take_cells(struct scan *scan, const struct doc *find)
{
    struct run now = {.has = true};
    uint64_t first = number(find, "first"), count = number(find, "count");
    copy_text(now.unit, sizeof now.unit, find, "unit");
    copy_text(now.area, sizeof now.area, find, "area");
    copy_text(now.from, sizeof now.from, find, "from");
    copy_text(now.to, sizeof now.to, find, "to");
    now.next = first + count;
    scan->cells += count;
    struct run *run = &scan->run;
    if (run->has && strcmp(run->unit, now.unit) == 0 && strcmp(run->area, now.area) == 0 &&
        run->next == first) {
        memcpy(run->to, now.to, sizeof run->to);
        run->next = now.next;
        return;
    }
    print_run(scan);
    *run = now;
}

static void print_identity(struct scan *scan, const struct doc *find, const struct doc *identity)
{
    struct str unit = doc_text(doc_get(find, "unit"));
    print_run(scan);
    clear_bar(scan);
    printf("unit %-4.*s is", (int)unit.size, unit.at);
    for (size_t i = 0; i < identity->count; i++) {
        struct str key = identity->items[i].key, text = identity->items[i].value->text;
        printf("%s %.*s %.*s", i ? "," : "", (int)key.size, key.at, (int)text.size, text.at);
    }
    putchar('\n');
    scan->units++;
}

static void take_find(struct scan *scan, const struct doc *find)
{
    const struct doc *identity = doc_get(find, "identity");
    struct str refusal = doc_text(doc_get(find, "refusal")),
               address = doc_text(doc_get(find, "address")),
               quality = doc_text(doc_get(find, "quality")), unit = doc_text(doc_get(find, "unit"));
    if (scan->is_json) {
        struct buf out = BUF_EMPTY;
        doc_write_json(&out, find);
        printf("%.*s\n", (int)out.size, out.at);
        buf_free(&out);
    } else if (identity) {
        print_identity(scan, find, identity);
    } else if (address.size) {
        clear_bar(scan);
        printf("%.*s%s%.*s\n", (int)address.size, address.at, quality.size ? "  " : "",
               (int)quality.size, quality.at);
        scan->cells++;
    } else if (refusal.size) {
        print_run(scan);
        clear_bar(scan);
        printf("unit %-4.*s answers, but not here: %.*s\n", (int)unit.size, unit.at,
               (int)refusal.size, refusal.at);
    } else {
        take_cells(scan, find);
    }
}

static void draw_bar(const struct scan *scan, uint64_t done, uint64_t total)
{
    enum { WIDTH = 40 };
    if (!scan->has_bar || !total) return;
    int filled = (int)(done * WIDTH / total);
    fprintf(stderr, "\r\033[K[%.*s%*s] %3d %%  %llu of %llu", filled,
            "########################################", WIDTH - filled, "",
            (int)(done * 100 / total), (unsigned long long)done, (unsigned long long)total);
}

static int run_scan(const struct cli_args *args, struct client *client, struct scan *scan)
{
    uint64_t next = 0, total = 1;
    while (next < total) {
        struct arena arena;
        struct buf path = BUF_EMPTY, body = BUF_EMPTY;
        arena_init(&arena, NULL);
        equipment_add_path(&path, args, "connections", args->words[0], "scan");
        buf_add_text(&body, "{\"range\":");
        buf_add_json(&body, str_of(args->word_count > 1 ? args->words[1] : ""));
        buf_printf(&body, ",\"from\":%llu}", (unsigned long long)next);
        const struct doc *answer = equipment_call(args, client, "POST", &path, &body, &arena);
        const struct doc *found = doc_get(answer, "found");
        for (size_t i = 0; found && i < found->count; i++) take_find(scan, found->items[i].value);
        uint64_t before = next;
        next = number(answer, "next");
        total = number(answer, "total");
        draw_bar(scan, next, total);
        buf_free(&path);
        buf_free(&body);
        bool failed = !answer || next <= before;
        arena_free(&arena);
        if (failed) return CLI_FAILED; /* equipment_call has said why */
    }
    return CLI_OK;
}

int cli_scan(const struct cli_args *args)
{
    struct scan scan = {.is_json = cli_value(args, "--json") != NULL};
    scan.has_bar = !scan.is_json && isatty(STDERR_FILENO);
    struct client *client = client_open(args);
    if (!client) return CLI_FAILED;
    int code = run_scan(args, client, &scan);
    print_run(&scan);
    clear_bar(&scan);
    if (code == CLI_OK && !scan.is_json && !scan.cells) puts("nothing answered");
    client_close(client);
    return code;
}
