/* verify.h - whether a broker still is what its headers say: lists that link both ways, counts
 * equal to what they count, pointers that point back.
 *
 * In debug builds and under the address sanitizer the broker asks itself once a second and at its
 * end; tests and fuzz targets whenever they like, the doctor never: what it looks at may be
 * damaged. In production only what is cheap is asked, where it is used; nothing here is called. A
 * claim that does not hold ends the program by MUST: it is a fault of ours, whatever came from
 * outside. */
#ifndef MQTT_VERIFY_H
#define MQTT_VERIFY_H

#include <stdbool.h>

struct broker;

/* Whether this build asks by itself. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BROKER_VERIFIES 1
#endif
#endif
#if !defined(BROKER_VERIFIES) && (defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__))
#define BROKER_VERIFIES 1
#endif
#ifndef BROKER_VERIFIES
#define BROKER_VERIFIES 0
#endif

/* MUST for every invariant of the broker, between two turns of its task, or before that runs. With
 * `is_whole` each item of each queue and each node of each tree is looked at; else only so many of
 * each that a large broker is not held up. */
void broker_verify(const struct broker *broker, bool is_whole);

#endif
