/* host.h - what the files of the host driver share.
 *
 * The driver looks at the machine it runs on: load, memory, disks, network, temperatures, and the
 * program itself. It knows the kernel's texts (proc(5), Documentation/hwmon/sysfs-interface) and
 * leaves reading them to the collector's LOCAL transport (see millrace/driver.h), so it runs in a
 * test on texts from any machine.
 *
 * Each area is one group of values with the same sources. Reading an area means asking for its
 * files in one or more rounds (which disks there are decides what to ask next), and making of their
 * texts a list of named values: the payload. */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "millrace/driver.h"
#include "text.h"

enum host_area {
    HOST_AREA_CPU,
    HOST_AREA_MEMORY,
    HOST_AREA_DISK,
    HOST_AREA_IO,
    HOST_AREA_NET,
    HOST_AREA_TEMPERATURE,
    HOST_AREA_SYSTEM,
    HOST_AREA_PROCESS,
    HOST_AREA_COUNT
};

enum {
    HOST_FACTS_MAX = 320,
    HOST_FACT_BYTES = 65536, /* of all texts of one reading */
    HOST_QUESTION_BYTES = 8192,
    HOST_PAYLOAD_BYTES = 32768,
    HOST_NAME_BYTES_MAX = 200,
    HOST_CPUS_MAX = 256,
    HOST_DISKS_MAX = 64,
};

/* ---- measures: measure.c ---- */

/* X(symbol, before, after, area, type, unit, help_en, help_zh); `after` NULL = the name is `before`
 * alone, else an instance stands between them: "net." "eth0" ".rx". */
#define HOST_MEASURE_TABLE(X)                                                                      \
    X(CPU_LOAD1, "cpu.load1", NULL, CPU, DOUBLE, "", "runnable tasks, average of 1 minute",        \
      "1 分钟平均负载")                                                                            \
    X(CPU_LOAD5, "cpu.load5", NULL, CPU, DOUBLE, "", "runnable tasks, average of 5 minutes",       \
      "5 分钟平均负载")                                                                            \
    X(CPU_LOAD15, "cpu.load15", NULL, CPU, DOUBLE, "", "runnable tasks, average of 15 minutes",    \
      "15 分钟平均负载")                                                                           \
    X(CPU_USE, "cpu.use", NULL, CPU, DOUBLE, "%", "use of all processors since the last reading",  \
      "自上次读数以来的 CPU 使用率")                                                               \
    X(CPU_USER, "cpu.user", NULL, CPU, DOUBLE, "%", "part of it in programs", "用户态占比")        \
    X(CPU_SYSTEM, "cpu.system", NULL, CPU, DOUBLE, "%", "part of it in the kernel", "内核态占比")  \
    X(CPU_IOWAIT, "cpu.iowait", NULL, CPU, DOUBLE, "%", "idle while a disk works",                 \
      "等待 I/O 占比")                                                                             \
    X(CPU_STEAL, "cpu.steal", NULL, CPU, DOUBLE, "%", "taken by the hypervisor", "被虚拟机占用")   \
    X(CPU_ONE_USE, "cpu.", ".use", CPU, DOUBLE, "%", "use of one processor, cpu.0.use",            \
      "单个 CPU 的使用率，例如 cpu.0.use")                                                         \
    X(MEMORY_TOTAL, "memory.total", NULL, MEMORY, UINT, "B", "main memory", "内存总量")            \
    X(MEMORY_USED, "memory.used", NULL, MEMORY, UINT, "B", "total less available", "已用内存")     \
    X(MEMORY_AVAILABLE, "memory.available", NULL, MEMORY, UINT, "B",                               \
      "what programs could still have without swapping", "可用内存")                               \
    X(MEMORY_FREE, "memory.free", NULL, MEMORY, UINT, "B", "used by nobody", "空闲内存")           \
    X(MEMORY_CACHED, "memory.cached", NULL, MEMORY, UINT, "B", "pages of files", "文件缓存")       \
    X(SWAP_TOTAL, "swap.total", NULL, MEMORY, UINT, "B", "swap space", "交换区总量")               \
    X(SWAP_USED, "swap.used", NULL, MEMORY, UINT, "B", "swap space in use", "已用交换区")          \
    X(DISK_TOTAL, "disk.", ".total", DISK, UINT, "B", "size of a local file system, disk./.total", \
      "本地文件系统大小，例如 disk./.total")                                                       \
    X(DISK_USED, "disk.", ".used", DISK, UINT, "B", "bytes in use", "已用字节数")                  \
    X(DISK_FREE, "disk.", ".free", DISK, UINT, "B", "bytes that programs may still use",           \
      "可用字节数")                                                                                \
    X(DISK_USE, "disk.", ".use", DISK, DOUBLE, "%", "used of what programs can have", "使用率")    \
    X(IO_READ, "io.", ".read", IO, UINT, "B",                                                      \
      "bytes read from a disk since the start, io.sda.read",                                       \
      "磁盘累计读取字节数，例如 io.sda.read")                                                      \
    X(IO_WRITTEN, "io.", ".written", IO, UINT, "B", "bytes written since the start",               \
      "累计写入字节数")                                                                            \
    X(IO_BUSY, "io.", ".busy", IO, DOUBLE, "%", "time with work since the last reading",           \
      "自上次读数以来的忙碌时间占比")                                                              \
    X(NET_RX, "net.", ".rx", NET, UINT, "B", "bytes received since the start, net.eth0.rx",        \
      "累计接收字节数，例如 net.eth0.rx")                                                          \
    X(NET_TX, "net.", ".tx", NET, UINT, "B", "bytes sent", "累计发送字节数")                       \
    X(NET_RX_PACKETS, "net.", ".rx_packets", NET, UINT, "", "packets received", "累计接收包数")    \
    X(NET_TX_PACKETS, "net.", ".tx_packets", NET, UINT, "", "packets sent", "累计发送包数")        \
    X(NET_RX_ERRORS, "net.", ".rx_errors", NET, UINT, "", "packets received damaged",              \
      "接收错误数")                                                                                \
    X(NET_TX_ERRORS, "net.", ".tx_errors", NET, UINT, "", "packets that could not be sent",        \
      "发送错误数")                                                                                \
    X(NET_RX_DROPPED, "net.", ".rx_dropped", NET, UINT, "", "packets dropped on the way in",       \
      "接收丢包数")                                                                                \
    X(NET_TX_DROPPED, "net.", ".tx_dropped", NET, UINT, "", "packets dropped on the way out",      \
      "发送丢包数")                                                                                \
    X(TEMPERATURE_MAX, "temperature.max", NULL, TEMPERATURE, DOUBLE, "°C",                         \
      "the highest of all sensors", "所有传感器中的最高温度")                                      \
    X(TEMPERATURE, "temperature.", "", TEMPERATURE, DOUBLE, "°C",                                  \
      "one sensor: temperature.thermal_zone0, temperature.coretemp.Core 0",                        \
      "单个传感器，例如 temperature.thermal_zone0")                                                \
    X(SYSTEM_UPTIME, "system.uptime", NULL, SYSTEM, DOUBLE, "s", "since the machine started",      \
      "开机时间")                                                                                  \
    X(SYSTEM_TASKS, "system.tasks", NULL, SYSTEM, UINT, "", "threads and processes",               \
      "线程和进程数")                                                                              \
    X(PROCESS_MEMORY, "process.memory", NULL, PROCESS, UINT, "B", "Millrace's resident memory",    \
      "Millrace 常驻内存")                                                                         \
    X(PROCESS_CPU, "process.cpu", NULL, PROCESS, DOUBLE, "%",                                      \
      "Millrace's use of one processor since the last reading", "Millrace 的 CPU 使用率")          \
    X(PROCESS_THREADS, "process.threads", NULL, PROCESS, UINT, "", "Millrace's threads",           \
      "Millrace 线程数")

enum host_measure {
#define X(symbol, before, after, area, type, unit, en, zh) HOST_##symbol,
    HOST_MEASURE_TABLE(X)
#undef X
        HOST_MEASURE_COUNT
};

extern const struct millrace_measure host_measures[HOST_MEASURE_COUNT + 1];

/* The values of one reading, as they go to `decode`: entries of name size, status, type (a byte
 * each), 8 bytes of value, name. */
struct host_list {
    uint8_t bytes[HOST_PAYLOAD_BYTES];
    size_t size;
};

/* Adds a value; `instance` empty for a measure without. What does not fit is left out, and reads as
 * missing. */
void host_add_uint(struct host_list *list, enum host_measure measure, struct text instance,
                   uint64_t value);
void host_add_double(struct host_list *list, enum host_measure measure, struct text instance,
                     double value);
/* A value that is not there, and why. */
void host_add_bad(struct host_list *list, enum host_measure measure, struct text instance,
                  enum millrace_status status);

bool host_point_parse(const struct millrace_line_config *config,
                      const struct millrace_point_text *text, struct millrace_point *point,
                      char why[MILLRACE_WHY_BYTES]);
enum millrace_status host_decode(const struct millrace_point *point, uint32_t first,
                                 const uint8_t *payload, size_t payload_bytes,
                                 char scratch[MILLRACE_SCRATCH_BYTES],
                                 struct millrace_value *value);
void host_list_payload(uint32_t area, const uint8_t *payload, size_t payload_bytes,
                       void (*found)(void *arg, struct millrace_text address,
                                     enum millrace_status status),
                       void *arg);
bool host_scan_parse(const struct millrace_line_config *config, const struct millrace_text *range,
                     struct millrace_scan *scan, char why[MILLRACE_WHY_BYTES]);

/* ---- facts and sources: source.c ---- */

/* One answered question. */
struct host_fact {
    struct text question; /* "read /proc/stat" */
    struct text answer;
    bool is_there;
};

struct host_facts {
    struct host_fact list[HOST_FACTS_MAX];
    size_t count;
};

/* Questions are lines; they grow in here. */
struct host_questions {
    char text[HOST_QUESTION_BYTES];
    size_t size;
};

/* What percentages are computed from: counters of the last reading. */
struct host_before {
    struct {
        uint64_t total, idle;
    } cpus[HOST_CPUS_MAX + 1]; /* the last: all of them */
    uint64_t user, system, iowait, steal;
    struct {
        uint64_t name_hash, busy_ms, at_ms;
    } disks[HOST_DISKS_MAX];
    uint64_t process_ticks, process_at_ms;
};

/* Adds the questions of a round; round 0 asks without facts. False: there are no more, and the
 * facts are complete. */
bool host_ask(enum host_area area, unsigned round, const struct host_facts *facts,
              struct host_questions *questions);
/* Makes values of complete facts. */
void host_take(enum host_area area, const struct host_facts *facts, struct host_before *before,
               struct host_list *list);

uint64_t host_hash(const char *bytes, size_t size); /* FNV-1a */

#endif
