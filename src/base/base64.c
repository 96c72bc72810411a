/* base64.c - see base64.h. Strict, because what is read are tokens and keys: of two spellings of
 * one value a check of one would let the other pass. Writing is OpenSSL's (EVP_EncodeBlock). */
#include "base/base64.h"
#include "base/err.h"
#include <string.h>

static const char *const last_two[] = {[BASE64_USUAL] = "+/", [BASE64_URL] = "-_"};

/* What a character stands for; -1: nothing. */
static int value_of(char c, enum base64_alphabet alphabet)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == last_two[alphabet][0]) return 62;
    return c == last_two[alphabet][1] ? 63 : -1;
}

bool base64_decode(struct str text, enum base64_alphabet alphabet, void *out, size_t room,
                   size_t *size)
{
    uint8_t *to = out;
    uint32_t bits = 0;
    unsigned have = 0;
    MUST(alphabet <= BASE64_URL && size && (out || !room) && (text.at || !text.size));
    *size = 0;
    for (int i = 0; i < 2 && alphabet == BASE64_USUAL && text.size; i++)
        text.size -= text.at[text.size - 1] == '=';
    for (size_t i = 0; i < text.size; i++) {
        int value = value_of(text.at[i], alphabet);
        if (value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        if (*size == room) return false;
        to[(*size)++] = (uint8_t)(bits >> have);
        bits &= (1u << have) - 1;
    }
    return have < 6 && bits == 0;
}
