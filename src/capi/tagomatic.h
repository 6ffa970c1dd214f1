/* tagomatic: sets of keywords in, a probability for every tag out.
 *
 * Every call that can fail returns a status; tagm_message() tells the thread's last failure in words: what was expected, what was found.
 * Buffers are the caller's. Handles are freed by the function of their kind, once; NULL is freed without harm.
 *
 * A tagger never changes: share one between any number of threads. A scratch belongs to one call at a time: one for each thread.
 * Scoring takes no lock and starts no thread, and gives the same bits on every machine. It allocates nothing, but that an item of more than
 * 1,024 keywords whose ids do not ascend may make the scratch grow, once.
 *
 * The same bits need the default floating-point environment: rounding to nearest, and neither flush-to-zero nor denormals-are-zero, which
 * the start-up code of programs that are linked with -ffast-math sets.
 *
 * Pointers must be valid, and aligned for their type. NULL is an error where a pointer is needed, and nothing is where a count of 0 says so.
 * What a call writes to must not overlap with anything else that it is given, and may be set to zero even if the call fails.
 *
 *     tagm_tagger *tagger;
 *     if (tagm_open("movies.tagm", &tagger) != TAGM_OK) { puts(tagm_message()); exit(1); }
 *
 * What stands between #ifdef TAGOMATIC_TRAIN or TAGOMATIC_LIVE and #endif is in libraries that are built with these features; pkg-config
 * says so.
 */
#ifndef TAGOMATIC_H
#define TAGOMATIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rises when a function changes or goes; compare it with tagm_abi_version(). */
#define TAGM_ABI_VERSION 1

typedef enum tagm_status {
    TAGM_OK = 0,
    TAGM_IO = 1,             /* the system refused to read or write */
    TAGM_BAD_MODEL = 2,      /* the bytes are no valid model */
    TAGM_NEWER_MODEL = 3,    /* the model needs a newer version of this library */
    TAGM_BAD_ARGUMENT = 4,   /* a pointer is NULL that must not be, a number is out of its range, or the model is not one for this call,
                              * as one of i8 weights is not for a new tag */
    TAGM_BAD_LENGTH = 5,     /* a buffer has the wrong size, or a scratch is not of this tagger */
    TAGM_UNKNOWN = 6,        /* there is no such keyword, tag or id */
    TAGM_FAULT = 7,          /* a fault of the library; please report it */
    TAGM_OTHER_CONTRACT = 8, /* a new version does not have the keywords and tags that the old one has; the old one stays */
    TAGM_UNTRAINABLE = 9,    /* there is nothing to learn from these examples, or training them ran away */
    TAGM_TOO_LARGE = 10      /* more than a model, a set or this machine's memory can hold */
} tagm_status;

typedef struct tagm_tagger tagm_tagger;
typedef struct tagm_scratch tagm_scratch;

typedef struct tagm_tag {
    const char *name;   /* UTF-8, not ended by a zero; lives as long as the tagger */
    size_t name_length; /* in bytes */
    uint32_t id;        /* stable for the life of the tag, whatever is added or removed */
    float threshold;    /* the tag is given if its score is at least this; infinity if never */
} tagm_tag;

typedef struct tagm_explanation {
    float logit;
    float score;
    double bias; /* what the biases add to the logit; with all contributions they sum up to it */
} tagm_explanation;

typedef struct tagm_contribution {
    double contribution; /* what the keyword adds to the logit */
    uint32_t id;         /* the keyword */
    float score_without; /* the score of the item without it */
} tagm_contribution;

/* Versions: of the functions, and of the library as text. */
uint32_t tagm_abi_version(void);
const char *tagm_version(void);

/* Why the thread's last call that failed did so; lives until the thread's next call that fails. TAGM_UNKNOWN of tagm_keyword_id leaves
 * no message. */
const char *tagm_message(void);

/* Makes a tagger of a model file, checked in full: a bad file fails here and never later. On failure *tagger is NULL. */
tagm_status tagm_open(const char *path, tagm_tagger **tagger);
tagm_status tagm_from_bytes(const void *bytes, size_t length, tagm_tagger **tagger);

/* The same without reading the file: open in the same time whatever its size. Vocabulary and weights are checked by tagm_verify alone. The
 * file must not be changed or cut while it is mapped: publish a new version by renaming it over the old one. */
tagm_status tagm_map(const char *path, tagm_tagger **tagger);
tagm_status tagm_verify(const tagm_tagger *tagger);

void tagm_free(tagm_tagger *tagger);

/* Saves the model: the file is there, whole, or the old one stays. Or tells where its bytes are, for as long as the tagger lives. */
tagm_status tagm_save(const tagm_tagger *tagger, const char *path);
tagm_status tagm_bytes(const tagm_tagger *tagger, const void **bytes, size_t *length);

/* Numbers of keywords and tags; 0 for NULL. */
size_t tagm_keyword_count(const tagm_tagger *tagger);
size_t tagm_tag_count(const tagm_tagger *tagger);

/* The id of a keyword of length bytes; TAGM_UNKNOWN, and UINT32_MAX as the id, if the model does not know it. A look-up costs more than
 * scoring the keyword: keep ids where you can. */
tagm_status tagm_keyword_id(const tagm_tagger *tagger, const char *keyword, size_t length, uint32_t *id);

/* The keyword with this id: UTF-8, not ended by a zero; lives as long as the tagger. */
tagm_status tagm_keyword_at(const tagm_tagger *tagger, uint32_t id, const char **keyword, size_t *length);

/* The tag whose score stands at index. */
tagm_status tagm_tag_at(const tagm_tagger *tagger, size_t index, tagm_tag *tag);

/* A hash of the scores of a fixed workload: equal wherever the same model is served. */
tagm_status tagm_signature(const tagm_tagger *tagger, uint64_t *signature);

/* Buffers for the calls below, made for one tagger. */
tagm_status tagm_scratch_new(const tagm_tagger *tagger, tagm_scratch **scratch);
void tagm_scratch_free(tagm_scratch *scratch);

/* Scores the item with these keyword ids, in any order; ascending without repeats is fastest. score_count is the number of tags. */
tagm_status tagm_score(const tagm_tagger *tagger, tagm_scratch *scratch, const uint32_t *ids, size_t id_count, float *scores,
                       size_t score_count);

/* Scores item_count items: item i has the ids from starts[i] up to starts[i + 1], of item_count + 1 starts, and the scores from
 * i * tags on. The same bits as one by one. */
tagm_status tagm_score_batch(const tagm_tagger *tagger, tagm_scratch *scratch, const uint32_t *ids, size_t id_count,
                             const size_t *starts, size_t item_count, float *scores, size_t score_count);

/* Writes the indices of the tags that an item with these scores is given to tags, which has room for so many, best first, and how many they
 * are to *tag_count. A tag needs min_score, or if that is NAN its own threshold; at most top_k are given, or if that is 0 as many as
 * there are. If there is not room for all, none is given, and *tag_count tells how many they are. */
tagm_status tagm_select(const tagm_tagger *tagger, tagm_scratch *scratch, const float *scores, size_t score_count,
                        float min_score, size_t top_k, size_t *tags, size_t room, size_t *tag_count);

/* Takes the score of the tag at index tag apart: what each keyword of the item adds to the logit, ascending by id. If there is not room
 * for all contributions, none is given, and *contribution_count tells how many they are. TAGM_UNKNOWN if there is no such tag or id. It
 * allocates. */
tagm_status tagm_explain(const tagm_tagger *tagger, const uint32_t *ids, size_t id_count, size_t tag,
                         tagm_explanation *explanation, tagm_contribution *contributions, size_t room,
                         size_t *contribution_count);

#ifdef TAGOMATIC_TRAIN

/* Sets of numbers, end to end: set i has ids[starts[i]] up to ids[starts[i + 1]], of count + 1 starts, the first of which is 0 and the last
 * id_count. */
typedef struct tagm_sets {
    const uint32_t *ids;
    size_t id_count;
    const size_t *starts;
    size_t count;
} tagm_sets;

/* Strings in UTF-8, each ended by a zero. */
typedef struct tagm_names {
    const char *const *names;
    size_t count;
} tagm_names;

/* Is told of each epoch and its log-loss, maybe on another thread, one call at a time. Another answer than 0 ends the training with the
 * best model so far. It must return: no exception, no longjmp. */
typedef int (*tagm_progress)(void *context, uint32_t epoch, double log_loss);

/* What teaching a tag has found. Measures are of examples that it was not taught, by cross-validation; NAN if there are too few. */
typedef struct tagm_taught {
    float threshold; /* with the best F1 */
    double auc;
    double average_precision;
    double precision; /* at the threshold, as recall and F1 */
    double recall;
    double f1;
} tagm_taught;

/* Trains a model. Item i has the keywords and tags of set i; their ids are places in the names. The model numbers keywords and tags anew,
 * and leaves out rare keywords: look them up in it. Options are name=value, apart by spaces or line ends; NULL is none. They are
 * the program's, written with _: hidden=64 epochs=20 lr=0.05 seed=1 dropout_in=0.1 negatives=20 and so on, and valid_fraction=0.1 refit=true
 * min_count=2 threads=1. Equal input makes equal models, whatever the machine and the number of threads. progress may be NULL. */
tagm_status tagm_train(const tagm_sets *keywords, const tagm_names *keyword_names, const tagm_sets *tags,
                       const tagm_names *tag_names, const char *options, tagm_progress progress, void *context,
                       tagm_tagger **tagger);

/* Makes a tagger of the model and one more tag, called name, as the last: taught by sets of keyword ids of the model, those that have it
 * (has_tag[i] is not 0) and those that do not. All other tags keep ids and scores, to the bit; the old tagger stays. In a model with groups
 * of hidden units the tag is taught on those of the first, and is the last of that group's tags. seed decides which examples are held out
 * together. taught may be NULL. */
tagm_status tagm_add_tag(const tagm_tagger *tagger, const char *name, const tagm_sets *keywords, const uint8_t *has_tag,
                         uint64_t seed, tagm_taught *taught, tagm_tagger **with_tag);

#endif

#ifdef TAGOMATIC_LIVE

/* A model that is replaced while it is served, from any number of threads. */
typedef struct tagm_live tagm_live;

/* Reads and checks the first version. Those that follow must have the same keywords and tags in the same order; if may_extend is not 0, they
 * may have more behind them. */
tagm_status tagm_live_open(const char *path, int may_extend, tagm_live **live);
void tagm_live_free(tagm_live *live);

/* Reads and checks a new version, and replaces the newest one by it: nobody waits but other reloads, of which one does at a time, so the file
 * that was opened last is the newest version. If it fails, the old one stays. */
tagm_status tagm_live_reload(const tagm_live *live, const char *path);

/* The number of the newest version, from 1 on; 0 for NULL. Costs next to nothing: compare it before each request with that of the tagger
 * in hand. */
uint64_t tagm_live_generation(const tagm_live *live);

/* A tagger of the newest version, and its number. It stays what it is, and is freed by tagm_free as any other, before or after the live
 * model. A version that no tagger is of any more goes at the next reload, or with the live model. Each needs a scratch of its own. */
tagm_status tagm_live_newest(const tagm_live *live, tagm_tagger **tagger, uint64_t *generation);

#endif

#ifdef __cplusplus
}
#endif

#endif
