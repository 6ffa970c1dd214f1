/* Trains a model through the C interface, teaches it a tag, saves it, serves it while it is replaced, and tries what must fail. Prints
 * the scores of one item. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tagomatic.h>

#undef NDEBUG
#include <assert.h>

enum { ITEMS = 200 };

/* Item i has two keywords of six; the first decides the tag. */
static const char *keyword_texts[] = {"shark", "surf", "desert", "camel", "long", "short"};
static const char *tag_texts[] = {"sea", "sand"};
static uint32_t keyword_ids[2 * ITEMS], tag_ids[ITEMS];
static size_t keyword_starts[ITEMS + 1], tag_starts[ITEMS + 1];
static const tagm_names keyword_names = {keyword_texts, 6}, tag_names = {tag_texts, 2};
static const tagm_sets keywords = {keyword_ids, 2 * ITEMS, keyword_starts, ITEMS}, tags = {tag_ids, ITEMS, tag_starts, ITEMS};
static const char *options = "hidden=8 epochs=20\nlr=0.1 dropout_in=0 dropout_hidden=0";

static int watch(void *seen, uint32_t epoch, double log_loss) {
    *(uint32_t *)seen = epoch;
    assert(log_loss > 0);
    return epoch == 3;
}

static void items(void) {
    for (uint32_t i = 0; i < ITEMS; i++) {
        keyword_ids[2 * i] = i % 4;
        keyword_ids[2 * i + 1] = 4 + i % 3 % 2;
        tag_ids[i] = i % 4 / 2;
        keyword_starts[i + 1] = 2 * i + 2;
        tag_starts[i + 1] = i + 1;
    }
}

static tagm_tagger *train(const char *how) {
    tagm_tagger *tagger;
    tagm_status status = tagm_train(&keywords, &keyword_names, &tags, &tag_names, how, NULL, NULL, &tagger);
    if (status != TAGM_OK) puts(tagm_message());
    assert(status == TAGM_OK && tagm_keyword_count(tagger) == 6 && tagm_tag_count(tagger) == 2);
    return tagger;
}

static void score(const tagm_tagger *tagger, const char *keyword, float *scores) {
    tagm_scratch *scratch;
    uint32_t id;
    assert(tagm_scratch_new(tagger, &scratch) == TAGM_OK);
    assert(tagm_keyword_id(tagger, keyword, strlen(keyword), &id) == TAGM_OK);
    assert(tagm_score(tagger, scratch, &id, 1, scores, tagm_tag_count(tagger)) == TAGM_OK);
    tagm_scratch_free(scratch);
}

static void train_badly(void) {
    tagm_tagger *none;
    assert(tagm_train(NULL, &keyword_names, &tags, &tag_names, NULL, NULL, NULL, &none) == TAGM_BAD_ARGUMENT && none == NULL);
    assert(tagm_train(&keywords, NULL, &tags, &tag_names, NULL, NULL, NULL, &none) == TAGM_BAD_ARGUMENT);
    assert(tagm_train(&keywords, &keyword_names, NULL, &tag_names, NULL, NULL, NULL, &none) == TAGM_BAD_ARGUMENT);
    assert(tagm_train(&keywords, &keyword_names, &tags, NULL, NULL, NULL, NULL, &none) == TAGM_BAD_ARGUMENT);
    assert(tagm_train(&keywords, &keyword_names, &tags, &tag_names, NULL, NULL, NULL, NULL) == TAGM_BAD_ARGUMENT);
    struct { const char *options, *says; } wrong[] = {
        {"hidden", "name=value"}, {"penalty=l1", "penalty_weight"}, {"hiden=8", "hiden"}, {"hidden=x", "hidden"}, {"lr=-1", "lr"}, {"threads=0", "threads"},
        {"min_count=-1", "min_count"}, {"valid_fraction=2", "validation fraction"}, {"refit=maybe", "refit"}, {"\xff", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tagm_status status = tagm_train(&keywords, &keyword_names, &tags, &tag_names, wrong[i].options, NULL, NULL, &none);
        assert(status == TAGM_BAD_ARGUMENT && none == NULL && strstr(tagm_message(), wrong[i].says));
    }
    tagm_sets few = tags, beyond = tags, cut = tags;
    few.count--;
    few.id_count--;
    assert(tagm_train(&keywords, &keyword_names, &few, &tag_names, NULL, NULL, NULL, &none) == TAGM_BAD_LENGTH);
    beyond.starts = NULL;
    assert(tagm_train(&keywords, &keyword_names, &beyond, &tag_names, NULL, NULL, NULL, &none) == TAGM_BAD_ARGUMENT);
    cut.id_count--;
    assert(tagm_train(&keywords, &keyword_names, &cut, &tag_names, NULL, NULL, NULL, &none) == TAGM_BAD_LENGTH);
    tagm_names one = {tag_texts, 1};
    assert(tagm_train(&keywords, &keyword_names, &tags, &one, NULL, NULL, NULL, &none) == TAGM_BAD_ARGUMENT &&
           strstr(tagm_message(), "below the 1 names"));
    const char *holes[] = {"sea", NULL};
    tagm_names hole = {holes, 2};
    assert(tagm_train(&keywords, &keyword_names, &tags, &hole, NULL, NULL, NULL, &none) == TAGM_BAD_ARGUMENT);
    size_t start = 0;
    tagm_sets empty = {NULL, 0, &start, 0};
    assert(tagm_train(&empty, &keyword_names, &empty, &tag_names, NULL, NULL, NULL, &none) == TAGM_UNTRAINABLE &&
           strstr(tagm_message(), "no items"));
}

/* A tag for the items with camels. */
static tagm_tagger *teach(const tagm_tagger *tagger) {
    uint32_t ids[2 * ITEMS];
    uint8_t has_tag[ITEMS];
    for (size_t i = 0; i < 2 * ITEMS; i++) {
        const char *text = keyword_texts[keyword_ids[i]];
        assert(tagm_keyword_id(tagger, text, strlen(text), &ids[i]) == TAGM_OK);
    }
    for (size_t i = 0; i < ITEMS; i++) has_tag[i] = i % 4 == 3;
    tagm_sets examples = {ids, 2 * ITEMS, keyword_starts, ITEMS};
    tagm_taught taught;
    tagm_tagger *with_tag, *none;
    assert(tagm_add_tag(tagger, "camel", &examples, has_tag, 1, &taught, &with_tag) == TAGM_OK);
    assert(taught.auc > 0.9 && taught.f1 > 0.5 && taught.threshold > 0 && tagm_tag_count(with_tag) == 3);

    assert(tagm_add_tag(tagger, "sea", &examples, has_tag, 1, NULL, &none) == TAGM_BAD_ARGUMENT && none == NULL);
    assert(tagm_add_tag(tagger, NULL, &examples, has_tag, 1, NULL, &none) == TAGM_BAD_ARGUMENT);
    assert(tagm_add_tag(tagger, "new", NULL, has_tag, 1, NULL, &none) == TAGM_BAD_ARGUMENT);
    assert(tagm_add_tag(tagger, "new", &examples, NULL, 1, NULL, &none) == TAGM_BAD_ARGUMENT);
    assert(tagm_add_tag(NULL, "new", &examples, has_tag, 1, NULL, &none) == TAGM_BAD_ARGUMENT);
    memset(has_tag, 1, sizeof has_tag);
    assert(tagm_add_tag(tagger, "new", &examples, has_tag, 1, NULL, &none) == TAGM_UNTRAINABLE &&
           strstr(tagm_message(), "\"new\" cannot be trained"));
    ids[0] = UINT32_MAX;
    assert(tagm_add_tag(tagger, "new", &examples, has_tag, 1, NULL, &none) == TAGM_UNKNOWN);
    return with_tag;
}

static void replace(const char *path, const tagm_tagger *trained, const tagm_tagger *with_tag) {
    tagm_live *live, *strict;
    tagm_tagger *old, *new;
    uint64_t generation;
    assert(tagm_save(trained, path) == TAGM_OK);
    assert(tagm_live_open(path, 1, &live) == TAGM_OK && tagm_live_open(path, 0, &strict) == TAGM_OK);
    assert(tagm_live_newest(live, &old, &generation) == TAGM_OK && generation == 1 && tagm_tag_count(old) == 2);
    assert(tagm_save(with_tag, path) == TAGM_OK);
    assert(tagm_live_reload(strict, path) == TAGM_OTHER_CONTRACT && strstr(tagm_message(), "tags: expected 2"));
    assert(tagm_live_generation(strict) == 1);
    assert(tagm_live_reload(live, path) == TAGM_OK && tagm_live_generation(live) == 2);
    assert(tagm_live_reload(live, "no/such/file") == TAGM_IO && tagm_live_generation(live) == 2);
    assert(tagm_live_newest(live, &new, &generation) == TAGM_OK && generation == 2);
    tagm_live_free(live);
    tagm_live_free(strict);
    float before[2], after[3];
    score(old, "camel", before);
    score(new, "camel", after);
    assert(memcmp(before, after, sizeof before) == 0);
    tagm_free(old);
    tagm_free(new);

    assert(tagm_live_open("no/such/file", 0, &live) == TAGM_IO && live == NULL && tagm_live_open(NULL, 0, &live) == TAGM_BAD_ARGUMENT);
    assert(tagm_live_newest(NULL, &new, &generation) == TAGM_BAD_ARGUMENT && new == NULL && tagm_live_generation(NULL) == 0);
    assert(tagm_live_reload(NULL, path) == TAGM_BAD_ARGUMENT);
    tagm_live_free(NULL);
}

int main(void) {
    items();
    train_badly();
    tagm_tagger *trained = train(options), *again;
    uint64_t signature, same;
    assert(tagm_signature(trained, &signature) == TAGM_OK);
    again = train("threads=2 hidden=8 epochs=20 lr=0.1 dropout_in=0 dropout_hidden=0");
    assert(tagm_signature(again, &same) == TAGM_OK && same == signature);
    tagm_free(again);
    uint32_t epochs = 0;
    assert(tagm_train(&keywords, &keyword_names, &tags, &tag_names, options, watch, &epochs, &again) == TAGM_OK && epochs == 3);
    tagm_free(again);

    float scores[3];
    score(trained, "camel", scores);
    for (int i = 0; i < 2; i++) {
        tagm_tag tag;
        assert(tagm_tag_at(trained, i, &tag) == TAGM_OK);
        assert(strncmp(tag.name, "sand", tag.name_length) == 0 ? scores[i] > 0.5f : scores[i] < 0.5f);
    }
    tagm_tagger *with_tag = teach(trained);
    char path[] = "/tmp/learn-XXXXXX";
    int file = mkstemp(path);
    assert(file >= 0 && close(file) == 0);
    replace(path, trained, with_tag);
    assert(unlink(path) == 0);

    score(with_tag, "camel", scores);
    for (int i = 0; i < 3; i++) {
        tagm_tag tag;
        assert(tagm_tag_at(with_tag, i, &tag) == TAGM_OK);
        printf("%.*s %.3f\n", (int)tag.name_length, tag.name, scores[i]);
    }
    tagm_free(trained);
    tagm_free(with_tag);
    return 0;
}
