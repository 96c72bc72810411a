/* base64.h - bytes written in 64 characters (RFC 4648), read. Both alphabets: the usual one with
 * its padding (section 4), and that of URLs, file names and JSON Web Tokens without (section 5). */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/str.h"

enum base64_alphabet { BASE64_USUAL, BASE64_URL };

/* Reads all of `text` into `out`, which has `room` bytes. Only one spelling of each value is taken:
 * bits that stand for nothing must be 0. USUAL: '=' at the end may be left out. `*size`: the bytes
 * written. False: it is not of that form, or longer; what `out` holds then means nothing. Not for
 * secrets that must not be measured: the time tells where it stops. Thread: any. */
bool base64_decode(struct str text, enum base64_alphabet alphabet, void *out, size_t room,
                   size_t *size);

#endif
