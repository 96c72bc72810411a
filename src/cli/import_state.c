/* import_state.c - see import_state.h. The file holds five numbers with blanks between. */
#include "cli/import_state.h"
#include "base/hash.h"
#include "base/num.h"
#include "cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void import_state_path(char path[IMPORT_STATE_PATH_BYTES], struct str key)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool has_state = state && state[0];
    path[0] = 0;
    if (!has_state && !home) return;
    snprintf(path, IMPORT_STATE_PATH_BYTES, "%s%s/millrace/imports/%016llx",
             has_state ? state : home, has_state ? "" : "/.local/state",
             (unsigned long long)hash_64(key.at, key.size));
}

bool import_state_read(const char *path, struct import_reached *r)
{
    struct buf text = BUF_EMPTY;
    uint64_t *const numbers[] = {&r->offset, &r->line, &r->row, &r->rows, &r->refused};
    bool is_good = path[0] && cli_read_file(path, &text);
    struct str rest = str_trim(buf_str(&text)), one;
    for (size_t i = 0; i < 5 && is_good; i++)
        is_good = str_split(&rest, ' ', &one) && num_parse_u64(one, numbers[i]);
    buf_free(&text);
    return is_good;
}

static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(path, 0700); /* that it exists is fine; else the file's opening tells */
        *slash = '/';
    }
}

void import_state_write(const char *path, const struct import_reached *r)
{
    char folders[IMPORT_STATE_PATH_BYTES], fresh[IMPORT_STATE_PATH_BYTES + 8];
    if (!path[0]) return;
    snprintf(folders, sizeof folders, "%s", path);
    make_folders(folders);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    if (!file) return;
    fprintf(file, "%llu %llu %llu %llu %llu\n", (unsigned long long)r->offset,
            (unsigned long long)r->line, (unsigned long long)r->row, (unsigned long long)r->rows,
            (unsigned long long)r->refused);
    if (fclose(file) == 0) (void)rename(fresh, path);
}

void import_state_remove(const char *path)
{
    if (path[0]) (void)unlink(path);
}
