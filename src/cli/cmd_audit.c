/* cmd_audit.c - `millrace audit verify`: reads the files themselves, so it works while the node
 * runs and when it does not. */
#include "access/audit.h"
#include "cli/cli.h"
#include <stdio.h>
#include <string.h>

int cli_audit(const struct cli_args *args)
{
    char data[3900], folder[4000];
    struct audit_report report;
    struct why why = WHY_NONE;
    if (strcmp(args->words[0], "verify") != 0)
        return cli_fail(args, CLI_USAGE, "usage: millrace audit verify [--data DIR]");
    cli_data_folder(args, data, sizeof data);
    snprintf(folder, sizeof folder, "%s/audit", data);
    struct os *os = os_real_new();
    enum err err = os ? audit_verify(os, folder, &report, &why) : ERR_NO_MEMORY;
    os_real_free(os);
    if (err) return cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
    printf("%llu lines in %u files are whole; last hash %s\n",
           (unsigned long long)report.line_count, report.file_count, report.last_hash);
    return CLI_OK;
}
