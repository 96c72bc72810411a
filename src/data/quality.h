/* quality.h - per-value quality: OPC UA status codes (OPC 10000-4 section 7.39, 10000-6 annex A).
 *
 * 0 = good. The two top bits are the severity: 00 good, 01 uncertain, 10 bad. A value with bad
 * quality is stored as NULL together with its reason. A column absent from a row reads as NULL with
 * GoodNoData. */
#ifndef DATA_QUALITY_H
#define DATA_QUALITY_H

#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* X(symbol, code) - the codes that Millrace itself raises; others pass through by number. */
#define QUALITY_TABLE(X)                                                                           \
    X(Good, 0x00000000u)                                                                           \
    X(GoodNoData, 0x00A50000u)                                                                     \
    X(GoodClamped, 0x00300000u)                                                                    \
    X(Uncertain, 0x40000000u)                                                                      \
    X(UncertainLastUsableValue, 0x40900000u)                                                       \
    X(Bad, 0x80000000u)                                                                            \
    X(BadUnexpectedError, 0x80010000u)                                                             \
    X(BadInternalError, 0x80020000u)                                                               \
    X(BadCommunicationError, 0x80050000u)                                                          \
    X(BadEncodingError, 0x80060000u)                                                               \
    X(BadDecodingError, 0x80070000u)                                                               \
    X(BadTimeout, 0x800A0000u)                                                                     \
    X(BadNoCommunication, 0x80310000u)                                                             \
    X(BadWaitingForInitialData, 0x80320000u)                                                       \
    X(BadNodeIdUnknown, 0x80340000u)                                                               \
    X(BadNotReadable, 0x803A0000u)                                                                 \
    X(BadNotWritable, 0x803B0000u)                                                                 \
    X(BadOutOfRange, 0x803C0000u)                                                                  \
    X(BadNotSupported, 0x803D0000u)                                                                \
    X(BadNotFound, 0x803E0000u)                                                                    \
    X(BadTypeMismatch, 0x80740000u)                                                                \
    X(BadConfigurationError, 0x80890000u)                                                          \
    X(BadNotConnected, 0x808A0000u)                                                                \
    X(BadDeviceFailure, 0x808B0000u)                                                               \
    X(BadSensorFailure, 0x808C0000u)                                                               \
    X(BadOutOfService, 0x808D0000u)                                                                \
    X(BadResourceUnavailable, 0x80040000u)

enum {
#define X(symbol, code) Quality##symbol = (int)(code),
    QUALITY_TABLE(X)
#undef X
};
#define QUALITY_GOOD    0u
#define QUALITY_NO_DATA 0x00A50000u

static inline bool quality_is_bad(uint32_t q)
{
    return (q & 0x80000000u) != 0;
}
static inline bool quality_is_good(uint32_t q)
{
    return (q & 0xC0000000u) == 0;
}
/* The worse of two: bad > uncertain > good; equal severity: the first one that is not plain Good.
 */
static inline uint32_t quality_worst(uint32_t a, uint32_t b)
{
    uint32_t severity_a = a >> 30, severity_b = b >> 30;
    if (severity_a != severity_b) return severity_a > severity_b ? a : b;
    return a ? a : b;
}
/* "BadTimeout", or "0x80AB0000" for a code not in the table (`scratch` holds it). */
const char *quality_name(uint32_t quality, char scratch[12]);
bool quality_of_name(struct str name, uint32_t *quality);

#endif
