/* csv.h - rows of comma-separated values taken off bytes (RFC 4180, with the liberties that
 * spreadsheets and loggers take).
 *
 * Sans I/O: the reader is given the bytes that have arrived and takes one row off them, if there is
 * a whole one. A field may be quoted; a quote inside is doubled (or escaped, where the escape
 * character is another); line breaks inside quotes belong to the field; lines end in LF, CRLF or
 * CR; a UTF-8 byte order mark before the first line is passed over. Limits: CSV_FIELDS_MAX fields,
 * CSV_ROW_BYTES_MAX bytes a row, so that a missing quote costs one row and not the file. Fast path:
 * a row without quotes is found by looking for separators many bytes at a time and its fields point
 * into the bytes. Used by COPY, POST /v1/import and `millrace import`. Thread: any; one owner. */
