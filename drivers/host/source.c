/* source.c - which of the kernel's texts each area needs, and what they say.
 *
 * The formats: proc(5); Documentation/filesystems/proc.rst, admin-guide/iostats.rst,
 * hwmon/sysfs-interface.rst and driver-api/thermal/sysfs-api.rst of Linux. A text that is missing
 * or reads otherwise than expected leaves its values out; they are then missing, never wrong. */
#include "host.h"
#include <stdio.h>

static const struct text none;

/* ---- facts ---- */

static struct text find(const struct host_facts *facts, const char *question)
{
    for (size_t i = 0; i < facts->count; i++)
        if (facts->list[i].is_there && text_is(facts->list[i].question, question))
            return facts->list[i].answer;
    return none;
}

static void ask(struct host_questions *q, const char *verb, const char *folder, struct text name,
                const char *tail)
{
    int n = snprintf(q->text + q->size, sizeof q->text - q->size, "%s %s%.*s%s\n", verb, folder,
                     (int)text_size(name), name.at ? name.at : "", tail);
    if (n > 0 && (size_t)n < sizeof q->text - q->size) q->size += (size_t)n;
}

static void ask_read(struct host_questions *q, const char *path)
{
    ask(q, "read", path, none, "");
}

static double percent(uint64_t part, uint64_t whole)
{
    if (part > whole) part = whole;
    double hundredths = (double)part * 10000 / (double)whole;
    return (double)(uint64_t)(hundredths + 0.5) / 100;
}

/* ---- processors ---- */

static bool ask_cpu(unsigned round, const struct host_facts *facts, struct host_questions *q)
{
    (void)facts;
    if (round) return false;
    ask_read(q, "/proc/stat");
    ask_read(q, "/proc/loadavg");
    return true;
}

enum {
    CPU_USER,
    CPU_NICE,
    CPU_SYSTEM,
    CPU_IDLE,
    CPU_IOWAIT,
    CPU_IRQ,
    CPU_SOFTIRQ,
    CPU_STEAL,
    CPU_FIELDS
};

static void share(struct host_list *list, enum host_measure measure, uint64_t now, uint64_t *before,
                  uint64_t whole)
{
    uint64_t part = now > *before ? now - *before : 0;
    *before = now;
    if (whole)
        host_add_double(list, measure, none, percent(part, whole));
    else
        host_add_bad(list, measure, none, MILLRACE_NOT_YET);
}

/* "cpu0 user nice system idle iowait irq softirq steal …" in ticks. */
static void measure_cpu_line(struct text line, struct host_before *before, struct host_list *list)
{
    struct text name;
    uint64_t ticks[CPU_FIELDS] = {0}, total = 0, index = HOST_CPUS_MAX;
    if (!text_word(&line, &name) || !text_starts(name, "cpu")) return;
    struct text number = {name.at + 3, name.end};
    bool is_one = text_size(number) > 0;
    if (is_one && (!text_number(number, &index) || index >= HOST_CPUS_MAX)) return;
    for (size_t i = 0; i < CPU_FIELDS && text_word_number(&line, &ticks[i]); i++) total += ticks[i];
    uint64_t idle = ticks[CPU_IDLE] + ticks[CPU_IOWAIT];
    uint64_t last = before->cpus[index].total, last_idle = before->cpus[index].idle;
    uint64_t whole = last && total > last ? total - last : 0;
    uint64_t rested = idle > last_idle ? idle - last_idle : 0; /* iowait may go back */
    enum host_measure use = is_one ? HOST_CPU_ONE_USE : HOST_CPU_USE;
    before->cpus[index].total = total;
    before->cpus[index].idle = idle;
    if (whole)
        host_add_double(list, use, number,
                        percent(whole - (rested < whole ? rested : whole), whole));
    else
        host_add_bad(list, use, number, MILLRACE_NOT_YET);
    if (is_one) return;
    share(list, HOST_CPU_USER, ticks[CPU_USER] + ticks[CPU_NICE], &before->user, whole);
    share(list, HOST_CPU_SYSTEM, ticks[CPU_SYSTEM] + ticks[CPU_IRQ] + ticks[CPU_SOFTIRQ],
          &before->system, whole);
    share(list, HOST_CPU_IOWAIT, ticks[CPU_IOWAIT], &before->iowait, whole);
    share(list, HOST_CPU_STEAL, ticks[CPU_STEAL], &before->steal, whole);
}

static void measure_cpu(const struct host_facts *facts, struct host_before *before,
                        struct host_list *list)
{
    static const enum host_measure loads[] = {HOST_CPU_LOAD1, HOST_CPU_LOAD5, HOST_CPU_LOAD15};
    struct text loadavg = find(facts, "read /proc/loadavg"), stat = find(facts, "read /proc/stat"),
                line;
    double load;
    for (size_t i = 0; i < 3 && text_word_decimal(&loadavg, &load); i++)
        host_add_double(list, loads[i], none, load);
    while (text_until(&stat, '\n', &line)) measure_cpu_line(line, before, list);
}

/* ---- memory ---- */

static bool ask_memory(unsigned round, const struct host_facts *facts, struct host_questions *q)
{
    (void)facts;
    if (round) return false;
    ask_read(q, "/proc/meminfo");
    return true;
}

/* "MemTotal:       16316412 kB" */
static bool meminfo(struct text text, const char *wanted, uint64_t *bytes)
{
    struct text line, name;
    uint64_t kib;
    while (text_until(&text, '\n', &line)) {
        if (!text_until(&line, ':', &name) || !text_is(name, wanted)) continue;
        if (!text_word_number(&line, &kib) || kib > UINT64_MAX / 1024) return false;
        *bytes = kib * 1024;
        return true;
    }
    return false;
}

static void measure_memory(const struct host_facts *facts, struct host_before *before,
                           struct host_list *list)
{
    static const struct {
        const char *name;
        enum host_measure measure;
    } plain[] = {{"MemTotal", HOST_MEMORY_TOTAL},
                 {"MemAvailable", HOST_MEMORY_AVAILABLE},
                 {"MemFree", HOST_MEMORY_FREE},
                 {"Cached", HOST_MEMORY_CACHED},
                 {"SwapTotal", HOST_SWAP_TOTAL}};
    struct text text = find(facts, "read /proc/meminfo");
    uint64_t bytes, less;
    (void)before;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (meminfo(text, plain[i].name, &bytes))
            host_add_uint(list, plain[i].measure, none, bytes);
    if (meminfo(text, "MemTotal", &bytes) && meminfo(text, "MemAvailable", &less) && less <= bytes)
        host_add_uint(list, HOST_MEMORY_USED, none, bytes - less);
    if (meminfo(text, "SwapTotal", &bytes) && meminfo(text, "SwapFree", &less) && less <= bytes)
        host_add_uint(list, HOST_SWAP_USED, none, bytes - less);
}

/* ---- file systems ---- */

/* Only these are asked for their size: on a remote one the question may wait for ever, and would
 * hold up a worker that others need. */
static const char *const local_types[] = {"ext2",    "ext3",  "ext4",  "xfs",   "btrfs",
                                          "vfat",    "exfat", "f2fs",  "zfs",   "ntfs3",
                                          "overlay", "erofs", "jffs2", "ubifs", NULL};

static bool is_local(struct text type)
{
    for (size_t i = 0; local_types[i]; i++)
        if (text_is(type, local_types[i])) return true;
    return false;
}

/* A device that is mounted at several places is one file system: the first place stands for it. */
static bool seen_before(struct text mounts, const char *line_at, struct text source)
{
    struct text line, other, path, type;
    if (!text_starts(source, "/")) return false;
    while (text_until(&mounts, '\n', &line) && line.at < line_at)
        if (text_word(&line, &other) && text_word(&line, &path) && text_word(&line, &type) &&
            is_local(type) && text_size(other) == text_size(source) &&
            memcmp(other.at, source.at, text_size(source)) == 0)
            return true;
    return false;
}

static bool ask_disk(unsigned round, const struct host_facts *facts, struct host_questions *q)
{
    if (round == 0) ask_read(q, "/proc/self/mounts");
    if (round != 1) return round == 0;
    struct text all = find(facts, "read /proc/self/mounts"), mounts = all, line;
    while (text_until(&mounts, '\n', &line)) {
        struct text rest = line, source, path, type;
        /* A path with a blank stands there escaped; it is left out. */
        if (text_word(&rest, &source) && text_word(&rest, &path) && text_word(&rest, &type) &&
            is_local(type) && !memchr(path.at, '\\', text_size(path)) &&
            !seen_before(all, line.at, source))
            ask(q, "disk", "", path, "");
    }
    return true;
}

static void measure_disk(const struct host_facts *facts, struct host_before *before,
                         struct host_list *list)
{
    (void)before;
    for (size_t i = 0; i < facts->count; i++) {
        struct text path = facts->list[i].question, sizes = facts->list[i].answer;
        uint64_t total, free, available;
        if (!text_starts(path, "disk ")) continue;
        path.at += 5;
        if (!facts->list[i].is_there) {
            host_add_bad(list, HOST_DISK_TOTAL, path, MILLRACE_DEVICE_FAILURE);
            continue;
        }
        if (!text_word_number(&sizes, &total) || !text_word_number(&sizes, &free) ||
            !text_word_number(&sizes, &available) || free > total || available > total)
            continue;
        uint64_t used = total - free;
        host_add_uint(list, HOST_DISK_TOTAL, path, total);
        host_add_uint(list, HOST_DISK_USED, path, used);
        host_add_uint(list, HOST_DISK_FREE, path, available);
        if (used + available)
            host_add_double(list, HOST_DISK_USE, path, percent(used, used + available));
    }
}

/* ---- disks ---- */

static bool ask_io(unsigned round, const struct host_facts *facts, struct host_questions *q)
{
    (void)facts;
    if (round) return false;
    ask_read(q, "/proc/diskstats");
    ask_read(q, "/proc/uptime");
    return true;
}

static uint64_t uptime_ms(const struct host_facts *facts)
{
    struct text text = find(facts, "read /proc/uptime");
    double seconds;
    bool sane = text_word_decimal(&text, &seconds) && seconds >= 0 && seconds < 1e12;
    return sane ? (uint64_t)(seconds * 1000) : 0;
}

static void measure_busy(struct text name, uint64_t busy_ms, uint64_t now_ms,
                         struct host_before *before, struct host_list *list)
{
    uint64_t hash = host_hash(name.at, text_size(name));
    size_t i = 0;
    while (i < HOST_DISKS_MAX && before->disks[i].name_hash && before->disks[i].name_hash != hash)
        i++;
    if (i == HOST_DISKS_MAX) return;
    uint64_t last_busy = before->disks[i].busy_ms, last = before->disks[i].at_ms;
    if (before->disks[i].name_hash && now_ms > last && busy_ms >= last_busy)
        host_add_double(list, HOST_IO_BUSY, name, percent(busy_ms - last_busy, now_ms - last));
    else
        host_add_bad(list, HOST_IO_BUSY, name, MILLRACE_NOT_YET);
    before->disks[i].name_hash = hash;
    before->disks[i].busy_ms = busy_ms;
    before->disks[i].at_ms = now_ms;
}

/* "major minor name reads merged sectors ms writes merged sectors ms inflight busy_ms …"; a sector
 * here is always 512 bytes. */
static void measure_io(const struct host_facts *facts, struct host_before *before,
                       struct host_list *list)
{
    struct text text = find(facts, "read /proc/diskstats"), line, name;
    uint64_t now_ms = uptime_ms(facts);
    while (text_until(&text, '\n', &line)) {
        uint64_t major, minor, fields[10];
        size_t n = 0;
        if (!text_word_number(&line, &major) || !text_word_number(&line, &minor) ||
            !text_word(&line, &name) || text_starts(name, "loop") || text_starts(name, "ram"))
            continue;
        while (n < 10 && text_word_number(&line, &fields[n])) n++;
        if (n < 10) continue;
        host_add_uint(list, HOST_IO_READ, name, fields[2] * 512);
        host_add_uint(list, HOST_IO_WRITTEN, name, fields[6] * 512);
        measure_busy(name, fields[9], now_ms, before, list);
    }
}

/* ---- network ---- */

static bool ask_net(unsigned round, const struct host_facts *facts, struct host_questions *q)
{
    (void)facts;
    if (round) return false;
    ask_read(q, "/proc/net/dev");
    return true;
}

/* "  eth0: rx_bytes packets errs drop fifo frame compressed multicast tx_bytes packets errs drop …"
 */
static void measure_net(const struct host_facts *facts, struct host_before *before,
                        struct host_list *list)
{
    static const struct {
        size_t field;
        enum host_measure measure;
    } columns[] = {{0, HOST_NET_RX},         {1, HOST_NET_RX_PACKETS}, {2, HOST_NET_RX_ERRORS},
                   {3, HOST_NET_RX_DROPPED}, {8, HOST_NET_TX},         {9, HOST_NET_TX_PACKETS},
                   {10, HOST_NET_TX_ERRORS}, {11, HOST_NET_TX_DROPPED}};
    struct text text = find(facts, "read /proc/net/dev"), line, name;
    (void)before;
    while (text_until(&text, '\n', &line)) {
        uint64_t fields[12];
        size_t n = 0;
        while (line.at < line.end && *line.at == ' ') line.at++;
        if (!text_until(&line, ':', &name)) continue;
        while (n < 12 && text_word_number(&line, &fields[n])) n++;
        for (size_t i = 0; n == 12 && i < sizeof columns / sizeof columns[0]; i++)
            host_add_uint(list, columns[i].measure, name, fields[columns[i].field]);
    }
}

/* ---- temperatures ---- */

#define THERMAL "/sys/class/thermal/"
#define HWMON   "/sys/class/hwmon/"

/* "temp1_input" */
static bool is_input(struct text file)
{
    static const char tail[] = "_input";
    return text_starts(file, "temp") && text_size(file) > sizeof tail - 1 &&
           memcmp(file.end - (sizeof tail - 1), tail, sizeof tail - 1) == 0;
}

/* For each "list /sys/class/hwmon/hwmonN" that was answered. */
static void ask_inputs(const struct host_fact *fact, struct host_questions *q)
{
    struct text chip = fact->question, names = fact->answer, file;
    if (!fact->is_there || !text_starts(chip, "list " HWMON "hwmon")) return;
    chip.at += 5;
    while (text_until(&names, '\n', &file)) {
        if (!is_input(file)) continue;
        char path[256];
        snprintf(path, sizeof path, "%.*s/%.*s", (int)text_size(chip), chip.at,
                 (int)(text_size(file) - 6), file.at);
        ask(q, "read", path, none, "_input");
        ask(q, "read", path, none, "_label");
    }
}

static bool ask_temperature(unsigned round, const struct host_facts *facts,
                            struct host_questions *q)
{
    struct text names, name;
    switch (round) {
    case 0:
        ask(q, "list", THERMAL, none, "");
        ask(q, "list", HWMON, none, "");
        return true;
    case 1:
        names = find(facts, "list " THERMAL);
        while (text_until(&names, '\n', &name))
            if (text_starts(name, "thermal_zone")) ask(q, "read", THERMAL, name, "/temp");
        names = find(facts, "list " HWMON);
        while (text_until(&names, '\n', &name)) {
            ask(q, "read", HWMON, name, "/name");
            ask(q, "list", HWMON, name, "");
        }
        return true;
    case 2:
        for (size_t i = 0; i < facts->count; i++) ask_inputs(&facts->list[i], q);
        return true;
    default: return false;
    }
}

/* Millidegrees in `fact`, under `name`. */
static void measure_sensor(const struct host_fact *fact, struct text name, struct host_list *list,
                           double *highest)
{
    struct text text = fact->answer;
    double milli;
    if (!fact->is_there || !text_word_decimal(&text, &milli)) {
        host_add_bad(list, HOST_TEMPERATURE, name, MILLRACE_DEVICE_FAILURE);
        return;
    }
    host_add_double(list, HOST_TEMPERATURE, name, milli / 1000);
    if (milli / 1000 > *highest) *highest = milli / 1000;
}

static struct text word_of(struct text text)
{
    struct text line = none;
    (void)text_until(&text, '\n', &line);
    return line;
}

/* ".../hwmon2/temp1_input" is named after the chip and the label: "coretemp.Core 0", else
 * "coretemp.temp1". Numbers of chips change from one start of the machine to the next. */
static void measure_hwmon(const struct host_facts *facts, const struct host_fact *fact,
                          struct host_list *list, double *highest)
{
    struct text path = fact->question, chip, file;
    char question[256], name[HOST_NAME_BYTES_MAX];
    path.at += strlen("read " HWMON);
    if (!text_until(&path, '/', &chip)) return;
    file = path;
    if (!is_input(file)) return;
    file.end -= 6;
    snprintf(question, sizeof question, "read " HWMON "%.*s/name", (int)text_size(chip), chip.at);
    struct text chip_name = word_of(find(facts, question));
    snprintf(question, sizeof question, "read " HWMON "%.*s/%.*s_label", (int)text_size(chip),
             chip.at, (int)text_size(file), file.at);
    struct text label = word_of(find(facts, question));
    if (!text_size(chip_name)) chip_name = chip;
    if (!text_size(label)) label = file;
    int n = snprintf(name, sizeof name, "%.*s.%.*s", (int)text_size(chip_name), chip_name.at,
                     (int)text_size(label), label.at);
    if (n <= 0 || (size_t)n >= sizeof name) return;
    measure_sensor(fact, text_of(name, (size_t)n), list, highest);
}

static void measure_temperature(const struct host_facts *facts, struct host_before *before,
                                struct host_list *list)
{
    double highest = -1000;
    (void)before;
    for (size_t i = 0; i < facts->count; i++) {
        const struct host_fact *fact = &facts->list[i];
        struct text path = fact->question, zone;
        if (text_starts(path, "read " HWMON)) measure_hwmon(facts, fact, list, &highest);
        if (!text_starts(path, "read " THERMAL)) continue;
        path.at += strlen("read " THERMAL);
        if (text_until(&path, '/', &zone)) measure_sensor(fact, zone, list, &highest);
    }
    if (highest > -1000) host_add_double(list, HOST_TEMPERATURE_MAX, none, highest);
}

/* ---- the machine, the program ---- */

static bool ask_system(unsigned round, const struct host_facts *facts, struct host_questions *q)
{
    (void)facts;
    if (round) return false;
    ask_read(q, "/proc/uptime");
    ask_read(q, "/proc/loadavg");
    return true;
}

static void measure_system(const struct host_facts *facts, struct host_before *before,
                           struct host_list *list)
{
    struct text uptime = find(facts, "read /proc/uptime"), load = find(facts, "read /proc/loadavg"),
                word, runnable;
    double number;
    uint64_t tasks;
    (void)before;
    if (text_word_decimal(&uptime, &number))
        host_add_double(list, HOST_SYSTEM_UPTIME, none, number);
    for (int i = 0; i < 3; i++) (void)text_word(&load, &word);
    if (text_word(&load, &word) && text_until(&word, '/', &runnable) && text_number(word, &tasks))
        host_add_uint(list, HOST_SYSTEM_TASKS, none, tasks);
}

static bool ask_process(unsigned round, const struct host_facts *facts, struct host_questions *q)
{
    (void)facts;
    if (round) return false;
    ask_read(q, "/proc/self/stat");
    ask_read(q, "/proc/self/status");
    ask_read(q, "/proc/uptime");
    return true;
}

enum { TICKS_PER_SECOND = 100 }; /* USER_HZ: the same on every architecture that Debian has */

/* Behind "(name) ": state is field 3, utime 14, stime 15, threads 20. */
static void measure_stat(struct text stat, uint64_t now_ms, struct host_before *before,
                         struct host_list *list)
{
    struct text word;
    uint64_t user = 0, system = 0, threads = 0;
    const char *close = stat.at ? memrchr(stat.at, ')', text_size(stat)) : NULL;
    if (!close) return;
    stat.at = close + 1;
    for (int field = 3; field <= 20; field++) {
        if (!text_word(&stat, &word)) return;
        if (field == 14 && !text_number(word, &user)) return;
        if (field == 15 && !text_number(word, &system)) return;
        if (field == 20 && !text_number(word, &threads)) return;
    }
    uint64_t ticks = user + system, last = before->process_at_ms;
    host_add_uint(list, HOST_PROCESS_THREADS, none, threads);
    if (last && now_ms > last && ticks >= before->process_ticks)
        host_add_double(list, HOST_PROCESS_CPU, none,
                        (double)(ticks - before->process_ticks) * 100 * 1000 / TICKS_PER_SECOND /
                            (double)(now_ms - last));
    else
        host_add_bad(list, HOST_PROCESS_CPU, none, MILLRACE_NOT_YET);
    before->process_ticks = ticks;
    before->process_at_ms = now_ms;
}

static void measure_process(const struct host_facts *facts, struct host_before *before,
                            struct host_list *list)
{
    uint64_t bytes;
    if (meminfo(find(facts, "read /proc/self/status"), "VmRSS", &bytes))
        host_add_uint(list, HOST_PROCESS_MEMORY, none, bytes);
    measure_stat(find(facts, "read /proc/self/stat"), uptime_ms(facts), before, list);
}

/* ---- the areas ---- */

static const struct source {
    bool (*ask)(unsigned round, const struct host_facts *facts, struct host_questions *questions);
    void (*measure)(const struct host_facts *facts, struct host_before *before,
                    struct host_list *list);
} sources[HOST_AREA_COUNT] = {
    [HOST_AREA_CPU] = {ask_cpu, measure_cpu},
    [HOST_AREA_MEMORY] = {ask_memory, measure_memory},
    [HOST_AREA_DISK] = {ask_disk, measure_disk},
    [HOST_AREA_IO] = {ask_io, measure_io},
    [HOST_AREA_NET] = {ask_net, measure_net},
    [HOST_AREA_TEMPERATURE] = {ask_temperature, measure_temperature},
    [HOST_AREA_SYSTEM] = {ask_system, measure_system},
    [HOST_AREA_PROCESS] = {ask_process, measure_process},
};

bool host_ask(enum host_area area, unsigned round, const struct host_facts *facts,
              struct host_questions *questions)
{
    questions->size = 0;
    return sources[area].ask(round, facts, questions) && questions->size > 0;
}

void host_take(enum host_area area, const struct host_facts *facts, struct host_before *before,
               struct host_list *list)
{
    list->size = 0;
    sources[area].measure(facts, before, list);
}
