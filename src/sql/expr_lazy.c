/* expr_lazy.c - forms that do not compute all their arguments for all rows: AND, OR, CASE,
 * COALESCE.
 *
 * Each keeps a shrinking list of the rows still undecided (e->selection) and computes the next
 * argument for those only. That is faster, and it keeps guards working: no error from a row a guard
 * excluded. */
#include "sql/func.h"
#include <string.h>

/* Copies the selected rows of `from` into the registers; NULLs too. */
static void copy_rows(struct vector *out, const struct vector *from, const uint16_t *selection,
                      uint32_t selected)
{
    size_t size = vector_element_bytes(out->type == TYPE_NONE ? TYPE_BIGINT : out->type);
    for (uint32_t k = 0; k < selected; k++) {
        uint32_t row = selection[k], at = vector_at(from, row);
        bool null = from->type == TYPE_NONE || (from->null && from->null[at]);
        out->null[row] = null;
        if (!null)
            memcpy((char *)out->data + row * size, (const char *)from->data + at * size, size);
    }
}

static uint32_t list_rows(const struct view *view, uint16_t *selection)
{
    for (uint32_t k = 0; k < view->selected; k++) selection[k] = (uint16_t)view_row(view, k);
    return view->selected;
}

/* AND and OR: `decisive` is the value that settles a row (false for AND, true for OR). A row stays
 * open while its arguments are the other value or NULL. */
static enum err logic(struct eval *eval, const struct expr *e, const struct rows *rows,
                      const struct view *view, struct vector *out, uint8_t decisive)
{
    uint16_t *open = e->selection[0];
    uint32_t open_count = list_rows(view, open);
    out->null = e->null;
    memset(out->b, !decisive, view->count);
    memset(out->null, 0, view->count);
    for (size_t i = 0; i < e->arg_count && open_count > 0; i++) {
        struct vector v;
        struct view narrow = {view->count, open, open_count};
        enum err err = expr_eval(eval, e->args[i], rows, &narrow, &v);
        if (err) return err;
        uint32_t left = 0;
        for (uint32_t k = 0; k < open_count; k++) {
            uint16_t row = open[k];
            uint32_t at = vector_at(&v, row);
            uint8_t null = v.type == TYPE_NONE || (v.null && v.null[at]);
            uint8_t settled = !null && v.b[at] == decisive;
            out->b[row] = settled ? decisive : !decisive;
            out->null[row] = (uint8_t)((out->null[row] | null) & !settled);
            open[left] = row;
            left += !settled;
        }
        open_count = left;
    }
    return ERR_OK;
}

enum err special_and(struct eval *eval, const struct expr *e, const struct rows *rows,
                     const struct view *view, struct vector *out)
{
    return logic(eval, e, rows, view, out, 0);
}

enum err special_or(struct eval *eval, const struct expr *e, const struct rows *rows,
                    const struct view *view, struct vector *out)
{
    return logic(eval, e, rows, view, out, 1);
}

/* Splits the open rows into those for which `condition` is true and the rest, which stay open. */
static uint32_t split_rows(const struct vector *condition, uint16_t *open, uint32_t *open_count,
                           uint16_t *matched)
{
    uint32_t left = 0, hits = 0;
    for (uint32_t k = 0; k < *open_count; k++) {
        uint16_t row = open[k];
        uint32_t at = vector_at(condition, row);
        bool null = condition->type == TYPE_NONE || (condition->null && condition->null[at]);
        bool hit = !null && condition->b[at];
        matched[hits] = row;
        hits += hit;
        open[left] = row;
        left += !hit;
    }
    *open_count = left;
    return hits;
}

/* args: when, then, when, then, … [else] */
enum err special_case(struct eval *eval, const struct expr *e, const struct rows *rows,
                      const struct view *view, struct vector *out)
{
    uint16_t *open = e->selection[0], *matched = e->selection[1];
    uint32_t open_count = list_rows(view, open);
    struct vector v;
    out->null = e->null;
    memset(out->null, 1, view->count);
    for (size_t i = 0; i + 1 < e->arg_count && open_count > 0; i += 2) {
        struct view narrow = {view->count, open, open_count};
        enum err err = expr_eval(eval, e->args[i], rows, &narrow, &v);
        if (err) return err;
        uint32_t hits = split_rows(&v, open, &open_count, matched);
        if (hits == 0) continue;
        struct view hit_view = {view->count, matched, hits};
        err = expr_eval(eval, e->args[i + 1], rows, &hit_view, &v);
        if (err) return err;
        copy_rows(out, &v, matched, hits);
    }
    if (e->arg_count % 2 == 0 || open_count == 0) return ERR_OK;
    struct view rest = {view->count, open, open_count};
    enum err err = expr_eval(eval, e->args[e->arg_count - 1], rows, &rest, &v);
    if (!err) copy_rows(out, &v, open, open_count);
    return err;
}

enum err special_coalesce(struct eval *eval, const struct expr *e, const struct rows *rows,
                          const struct view *view, struct vector *out)
{
    uint16_t *open = e->selection[0];
    uint32_t open_count = list_rows(view, open);
    out->null = e->null;
    memset(out->null, 1, view->count);
    for (size_t i = 0; i < e->arg_count && open_count > 0; i++) {
        struct vector v;
        struct view narrow = {view->count, open, open_count};
        enum err err = expr_eval(eval, e->args[i], rows, &narrow, &v);
        if (err) return err;
        copy_rows(out, &v, open, open_count);
        uint32_t left = 0;
        for (uint32_t k = 0; k < open_count; k++) {
            open[left] = open[k];
            left += out->null[open[k]];
        }
        open_count = left;
    }
    return ERR_OK;
}
