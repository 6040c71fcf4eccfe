// The gate minimum-traffic in C: the same parameters, verdicts and cases as the one in Rust.
//
// `gate.h` is generated from wit/gate.wit by wit-bindgen. Two of its rules matter here: what a
// function is given is its own to free, and what it returns is freed by the caller, so texts that
// are returned are copies.

#include "gate.h"

#include <stdlib.h>
#include <string.h>

static const char SCHEMA[] = {
#embed "../minimum-traffic/params.schema.json"
    , '\0'};

typedef struct {
    uint32_t min_green_requests;
    uint32_t min_blue_requests;
    uint32_t window_ms;
} params_t;

// A text under construction. What does not fit is left out; a reason fits easily.
typedef struct {
    char bytes[256];
    size_t length;
} text_t;

static void add(text_t *text, const char *more) {
    size_t length = strlen(more);
    if (length > sizeof text->bytes - text->length) length = sizeof text->bytes - text->length;
    memcpy(text->bytes + text->length, more, length);
    text->length += length;
}

static void add_number(text_t *text, uint64_t number) {
    char digits[21];
    char *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add(text, first);
}

// Milliseconds as seconds, with no more decimals than needed.
static void add_seconds(text_t *text, uint32_t ms) {
    add_number(text, ms / 1000);
    char decimals[] = {'.', (char)('0' + ms / 100 % 10), (char)('0' + ms / 10 % 10),
                       (char)('0' + ms % 10), '\0'};
    size_t length = 4;
    while (length > 1 && decimals[length - 1] == '0') length--;
    decimals[length > 1 ? length : 0] = '\0';
    add(text, decimals);
}

// Reads the number after `"key":`; false if it is not written as digits. A parameter that is not
// there keeps its default. All values are numbers by the schema, so a key cannot stand in a text.
static bool read_number(const gate_string_t *params, const char *key, uint32_t *number) {
    size_t length = strlen(key);
    const char *at = (const char *)params->ptr;
    const char *end = at + params->len;
    for (; (size_t)(end - at) > length; at++) {
        if (memcmp(at, key, length) == 0) break;
    }
    if ((size_t)(end - at) <= length) return true;
    at += length;
    while (at < end && (*at == ':' || *at == ' ')) at++;
    uint64_t value = 0;
    const char *first = at;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > UINT32_MAX) return false;
    }
    *number = (uint32_t)value;
    return at > first && at < end && (*at == ',' || *at == '}' || *at == ' ');
}

static double requests(tidegate_gate_telemetry_side_t side, uint32_t window_ms) {
    gate_string_t name;
    double number = 0;
    gate_string_set(&name, "requests");
    return tidegate_gate_telemetry_metric(side, &name, window_ms, &number) ? number : 0;
}

// Whether a side is waited for; then `verdict` is the hold. A side without weight is not: no time
// brings it any requests.
static bool holds(const char *side, double seen, uint32_t needed, bool has_weight,
                  uint32_t window_ms, gate_verdict_t *verdict) {
    if (!has_weight || seen >= needed) return false;
    text_t reason = {.length = 0};
    add_number(&reason, (uint64_t)(needed - seen));
    add(&reason, " more ");
    add(&reason, side);
    add(&reason, " requests: ");
    add_number(&reason, (uint64_t)seen);
    add(&reason, " of ");
    add_number(&reason, needed);
    add(&reason, " in the last ");
    add_seconds(&reason, window_ms);
    add(&reason, " s");
    verdict->tag = TIDEGATE_GATE_TYPES_VERDICT_HOLD;
    gate_string_dup_n(&verdict->val.hold.reason, reason.bytes, reason.length);
    verdict->val.hold.retry_after_ms.is_some = false;
    return true;
}

void exports_gate_describe(gate_description_t *description) {
    gate_string_dup(&description->name, "minimum-traffic-c");
    gate_string_dup(&description->version, "1.0.0");
    gate_string_dup(&description->params_schema, SCHEMA);
}

bool exports_gate_evaluate(gate_call_t *call, gate_verdict_t *verdict, gate_string_t *error) {
    params_t params = {.min_green_requests = 100, .min_blue_requests = 0, .window_ms = 60000};
    double weight = call->weight_percent;
    bool read = read_number(&call->params, "\"min_green_requests\"", &params.min_green_requests) &&
                read_number(&call->params, "\"min_blue_requests\"", &params.min_blue_requests) &&
                read_number(&call->params, "\"window_ms\"", &params.window_ms);
    gate_call_free(call);
    if (!read) {
        gate_string_dup(error, "parameters: a number has to be written as digits");
        return false;
    }
    double green = requests(TIDEGATE_GATE_TELEMETRY_SIDE_GREEN, params.window_ms);
    double blue = requests(TIDEGATE_GATE_TELEMETRY_SIDE_BLUE, params.window_ms);
    verdict->tag = TIDEGATE_GATE_TYPES_VERDICT_PASS;
    if (!holds("green", green, params.min_green_requests, weight > 0, params.window_ms, verdict)) {
        holds("blue", blue, params.min_blue_requests, weight < 100, params.window_ms, verdict);
    }
    return true;
}
