/* psk.h - keys that both sides have beforehand (TLS-PSK, RFC 4279; TLS 1.3: RFC 8446
 * section 4.2.11): for devices too small for certificates. A text of lines IDENTITY:KEY, the key in
 * hex, as Mosquitto's psk_file has them. */
#ifndef NET_PSK_H
#define NET_PSK_H

#include "base/str.h"

struct tls_psk;

enum {
    PSK_IDENTITY_BYTES = 128, /* its NUL included */
    PSK_KEY_BYTES_MIN = 16,
    PSK_KEY_BYTES_MAX = 64,
    PSK_FILE_BYTES_MAX = 16 * 1024 * 1024,
};

/* Reads the lines; empty ones and those that begin with # say nothing. One bad line refuses all of
 * them, and so does an identity that stands there twice: whoever wrote it meant something else.
 * Errors: INVALID with the line's number (never its text), LIMIT, NO_MEMORY. */
enum err tls_psk_read(struct str text, struct tls_psk **psk, struct why *why);
/* Shared by reference count; immutable. Thread: any. */
struct tls_psk *tls_psk_share(struct tls_psk *psk); /* one more share */
void tls_psk_release(struct tls_psk *psk);          /* NULL allowed; wipes the keys */
size_t tls_psk_count(const struct tls_psk *psk);
/* The key of an identity (any bytes), into `key`, which the caller wipes; gives its size. 0 = there
 * is none. */
size_t tls_psk_find(const struct tls_psk *psk, struct str identity, uint8_t key[PSK_KEY_BYTES_MAX]);
/* Whether who has proved his key in `was` would prove it in `now` as well (either NULL = no keys):
 * the identity is in both, with the same key. */
bool tls_psk_still_has(const struct tls_psk *was, const struct tls_psk *now, struct str identity);
/* Whether there is an identity in `was` of which that is not so. */
bool tls_psk_lacks_some(const struct tls_psk *was, const struct tls_psk *now);

#endif
