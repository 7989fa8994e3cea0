// SPDX-License-Identifier: Apache-2.0
// Timestamps, durations and paths of field masks as texts. Days are counted in the proleptic
// Gregorian calendar (Howard Hinnant's days_from_civil: a year begins in March, so that the leap
// day is its last).
#include "pb/json_wkt.h"

#define TIMESTAMP_MIN (-62135596800LL) // 0001-01-01T00:00:00Z
#define TIMESTAMP_MAX 253402300799LL   // 9999-12-31T23:59:59Z
#define DURATION_MAX 315576000000LL
#define NANOS 1000000000

static bool digit_at(struct str s, size_t i) { return i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; }

static bool byte_at(struct str s, size_t i, char c) { return i < s.n && s.p[i] == c; }

// Exactly `n` digits at *at; -1 when they are not there.
static int read_digits(struct str s, size_t *at, int n) {
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (!digit_at(s, *at)) return -1;
        v = v * 10 + (s.p[(*at)++] - '0');
    }
    return v;
}

// An optional ".123" at *at, as nanoseconds; -1 when it is malformed.
static int32_t read_fraction(struct str s, size_t *at) {
    if (!byte_at(s, *at, '.')) return 0;
    *at += 1;
    int32_t nanos = 0;
    int digits = 0;
    while (digit_at(s, *at)) {
        if (++digits > 9) return -1;
        nanos = nanos * 10 + (s.p[(*at)++] - '0');
    }
    if (digits == 0) return -1;
    for (; digits < 9; digits++) nanos *= 10;
    return nanos;
}

static int64_t days_from_civil(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t z, int *y, int *m, int *d) {
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    *d = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *m = (int)(month < 10 ? month + 3 : month - 9);
    *y = (int)(year_of_era + era * 400 + (*m <= 2));
}

static int days_in_month(int y, int m) {
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : DAYS[m - 1];
}

// "Z" or "+hh:mm" at *at, to the end of the text, in seconds.
static bool read_offset(struct str s, size_t *at, int *seconds) {
    *seconds = 0;
    if (byte_at(s, *at, 'Z')) return ++*at == s.n;
    bool west = byte_at(s, *at, '-');
    if (!west && !byte_at(s, *at, '+')) return false;
    *at += 1;
    int hour = read_digits(s, at, 2);
    if (hour < 0 || hour > 23 || !byte_at(s, *at, ':')) return false;
    *at += 1;
    int minute = read_digits(s, at, 2);
    if (minute < 0 || minute > 59) return false;
    *seconds = (hour * 60 + minute) * (west ? -60 : 60);
    return *at == s.n;
}

bool wkt_read_timestamp(struct str text, int64_t *seconds, int32_t *nanos) {
    static const struct {
        int digits, min, max;
        char then; // what separates it from the next
    } PARTS[] = {{4, 1, 9999, '-'}, {2, 1, 12, '-'}, {2, 1, 31, 'T'},
                 {2, 0, 23, ':'},   {2, 0, 59, ':'}, {2, 0, 59, '\0'}};
    int part[6];
    size_t at = 0;
    for (int i = 0; i < 6; i++) {
        part[i] = read_digits(text, &at, PARTS[i].digits);
        if (part[i] < PARTS[i].min || part[i] > PARTS[i].max) return false;
        if (PARTS[i].then != '\0' && !byte_at(text, at++, PARTS[i].then)) return false;
    }
    if (part[2] > days_in_month(part[0], part[1])) return false;
    *nanos = read_fraction(text, &at);
    int offset;
    if (*nanos < 0 || !read_offset(text, &at, &offset)) return false;
    *seconds = days_from_civil(part[0], part[1], part[2]) * 86400 + part[3] * 3600 + part[4] * 60 +
               part[5] - offset;
    return *seconds >= TIMESTAMP_MIN && *seconds <= TIMESTAMP_MAX;
}

bool wkt_read_duration(struct str text, int64_t *seconds, int32_t *nanos) {
    size_t at = byte_at(text, 0, '-') ? 1 : 0;
    bool negative = at == 1;
    if (!digit_at(text, at)) return false;
    *seconds = 0;
    for (; digit_at(text, at); at++) {
        *seconds = *seconds * 10 + (text.p[at] - '0');
        if (*seconds > DURATION_MAX) return false;
    }
    *nanos = read_fraction(text, &at);
    if (*nanos < 0 || !byte_at(text, at, 's') || at + 1 != text.n) return false;
    if (negative) {
        *seconds = -*seconds;
        *nanos = -*nanos;
    }
    return true;
}

// ".5" with 3, 6 or 9 digits; nothing for zero.
static void put_fraction(struct buf *out, int32_t nanos) {
    if (nanos == 0) return;
    if (nanos % 1000000 == 0) {
        buf_printf(out, ".%03d", nanos / 1000000);
    } else if (nanos % 1000 == 0) {
        buf_printf(out, ".%06d", nanos / 1000);
    } else {
        buf_printf(out, ".%09d", nanos);
    }
}

bool wkt_put_timestamp(struct buf *out, int64_t seconds, int32_t nanos) {
    if (seconds < TIMESTAMP_MIN || seconds > TIMESTAMP_MAX || nanos < 0 || nanos >= NANOS)
        return false;
    int64_t days = seconds / 86400;
    int rest = (int)(seconds % 86400);
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int y, m, d;
    civil_from_days(days, &y, &m, &d);
    buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d", y, m, d, rest / 3600, rest / 60 % 60,
               rest % 60);
    put_fraction(out, nanos);
    buf_append_byte(out, 'Z');
    return true;
}

bool wkt_put_duration(struct buf *out, int64_t seconds, int32_t nanos) {
    if (seconds < -DURATION_MAX || seconds > DURATION_MAX) return false;
    if (nanos <= -NANOS || nanos >= NANOS) return false;
    if ((seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0)) return false;
    if (seconds < 0 || nanos < 0) {
        buf_append_byte(out, '-');
        seconds = -seconds;
        nanos = -nanos;
    }
    buf_printf(out, "%lld", (long long)seconds);
    put_fraction(out, nanos);
    buf_append_byte(out, 's');
    return true;
}

// A byte that a path may have as it is: nothing that separates paths or that JSON would escape.
static bool is_plain(char c) {
    return (unsigned char)c >= 0x20 && c != ',' && c != '"' && c != '\\';
}

bool wkt_put_snake(struct buf *out, struct str camel) {
    size_t before = out->n;
    for (size_t i = 0; i < camel.n; i++) {
        char c = camel.p[i];
        if (c == '_' || !is_plain(c)) {
            out->n = before;
            return false;
        }
        bool capital = c >= 'A' && c <= 'Z';
        if (capital) buf_append_byte(out, '_');
        buf_append_byte(out, capital ? (char)(c - 'A' + 'a') : c);
    }
    return true;
}

bool wkt_put_camel(struct buf *out, struct str snake) {
    size_t before = out->n;
    for (size_t i = 0; i < snake.n; i++) {
        char c = snake.p[i];
        bool joint = c == '_';
        if (joint) c = ++i < snake.n ? snake.p[i] : '_';
        bool lower = c >= 'a' && c <= 'z';
        if ((joint && !lower) || (c >= 'A' && c <= 'Z') || !is_plain(c)) {
            out->n = before;
            return false;
        }
        buf_append_byte(out, joint ? (char)(c - 'a' + 'A') : c);
    }
    return true;
}
