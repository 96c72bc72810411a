/* err_table.h - the one list of errors.
 *
 * X(symbol, text, HTTP status, SQLSTATE). The enum, the names, the answers of every listener and
 * the reference manual come from it. `text` says what kind of thing went wrong; the context that
 * names the object, the place and the way out is added where the error is raised (see err.h). */
#ifndef BASE_ERR_TABLE_H
#define BASE_ERR_TABLE_H

/* clang-format off */
#define ERR_TABLE(X)                                                                  \
    X(OK,              "ok",                                         200, "00000")    \
    X(NO_MEMORY,       "out of memory",                              503, "53200")    \
    X(BUDGET,          "memory budget is used up",                   503, "53200")    \
    X(LIMIT,           "a limit was exceeded",                       413, "54000")    \
    X(BUSY,            "too much is under way; try again",           429, "53300")    \
    X(TIMEOUT,         "no answer in time",                          504, "57014")    \
    X(CANCELLED,       "cancelled",                                  499, "57014")    \
    X(CLOSED,          "closed",                                     503, "57P01")    \
    X(INVALID,         "not valid",                                  400, "22023")    \
    X(SYNTAX,          "syntax error",                               400, "42601")    \
    X(TYPE,            "types do not fit",                           400, "42804")    \
    X(RANGE,           "out of range",                               409, "22003")    \
    X(DIVISION,        "division by zero",                           400, "22012")    \
    X(NO_TABLE,        "no such table",                              404, "42P01")    \
    X(NO_COLUMN,       "no such column",                             400, "42703")    \
    X(NO_FUNCTION,     "no such function",                           400, "42883")    \
    X(AMBIGUOUS,       "ambiguous",                                  400, "42702")    \
    X(GROUPING,        "must be grouped or aggregated",              400, "42803")    \
    X(NOT_FOUND,       "not found",                                  404, "42704")    \
    X(EXISTS,          "exists already",                             409, "42710")    \
    X(CONFLICT,        "changed in the meantime",                    409, "40001")    \
    X(GONE,            "no longer available",                        410, "55000")    \
    X(UNSUPPORTED,     "not in this version",                        501, "0A000")    \
    X(UNAUTHENTICATED, "log in first",                               401, "28000")    \
    X(FORBIDDEN,       "not allowed",                                403, "42501")    \
    X(READ_ONLY,       "read only",                                  409, "25006")    \
    X(IO,              "input/output error",                         500, "58030")    \
    X(DISK_FULL,       "no space left",                              507, "53100")    \
    X(CORRUPT,         "damaged data",                               500, "XX001")    \
    X(FORMAT,          "made by another version",                    500, "XX000")    \
    X(CONNECT,         "cannot connect",                             502, "08001")    \
    X(PROTOCOL,        "the peer broke the protocol",                502, "08P01")    \
    X(DEVICE,          "the device refused",                         502, "58000")    \
    X(TLS,             "TLS failed",                                 502, "08006")    \
    X(ADDRESS_IN_USE,  "address already in use",                     500, "58030")    \
    X(INTERNAL,        "internal error",                             500, "XX000")
/* clang-format on */

#endif
