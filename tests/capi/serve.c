/* Serves models/movies.tagm through the C interface, from several threads and from processes that are forked, and tries what must fail. Prints the tags of one item. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tagomatic.h>

#undef NDEBUG
#include <assert.h>

enum { THREADS = 4, ROUNDS = 200 };

static tagm_tagger *tagger;
static uint32_t ids[3];
static float *expected;

static void look_up(void) {
    const char *keywords[] = {"zombie", "undead", "horror"};
    for (int i = 0; i < 3; i++) {
        assert(tagm_keyword_id(tagger, keywords[i], strlen(keywords[i]), &ids[i]) == TAGM_OK);
        assert(ids[i] < tagm_keyword_count(tagger));
    }
    uint32_t id;
    assert(tagm_keyword_id(tagger, "no such word", 12, &id) == TAGM_UNKNOWN && id == UINT32_MAX);
    assert(tagm_keyword_id(tagger, "\xff", 1, &id) == TAGM_UNKNOWN);
    assert(tagm_keyword_id(tagger, NULL, 0, &id) == TAGM_UNKNOWN);
    const char *name;
    size_t length;
    assert(tagm_keyword_at(tagger, ids[1], &name, &length) == TAGM_OK && length == 6 && memcmp(name, "undead", 6) == 0);
    assert(tagm_keyword_at(tagger, UINT32_MAX, &name, &length) == TAGM_UNKNOWN);
    assert(tagm_keyword_at(tagger, ids[1], NULL, &length) == TAGM_BAD_ARGUMENT);
}

static void *serve(void *unused) {
    size_t tags = tagm_tag_count(tagger);
    tagm_scratch *scratch;
    assert(tagm_scratch_new(tagger, &scratch) == TAGM_OK);
    float *scores = malloc(tags * sizeof *scores);
    for (int round = 0; round < ROUNDS; round++) {
        assert(tagm_score(tagger, scratch, ids, 3, scores, tags) == TAGM_OK);
        assert(memcmp(scores, expected, tags * sizeof *scores) == 0);
    }
    free(scores);
    tagm_scratch_free(scratch);
    return unused;
}

static void score_and_print(void) {
    size_t tags = tagm_tag_count(tagger);
    tagm_scratch *scratch;
    assert(tagm_scratch_new(tagger, &scratch) == TAGM_OK);
    assert(tagm_score(tagger, scratch, ids, 3, expected, tags) == TAGM_OK);

    /* A batch of the item, no keywords at all, and the item the other way round: the same bits as one by one. */
    uint32_t batch[] = {ids[0], ids[1], ids[2], ids[2], ids[1], ids[0]};
    size_t starts[] = {0, 3, 3, 6};
    float *scores = malloc(3 * tags * sizeof *scores);
    assert(tagm_score_batch(tagger, scratch, batch, 6, starts, 3, scores, 3 * tags) == TAGM_OK);
    assert(memcmp(scores, expected, tags * sizeof *scores) == 0);
    assert(memcmp(scores + 2 * tags, expected, tags * sizeof *scores) == 0);
    free(scores);

    size_t *given = malloc(tags * sizeof *given), count;
    assert(tagm_select(tagger, scratch, expected, tags, NAN, 0, given, tags, &count) == TAGM_OK && count > 0);
    for (size_t i = 0; i < count; i++) {
        tagm_tag tag;
        assert(tagm_tag_at(tagger, given[i], &tag) == TAGM_OK && expected[given[i]] >= tag.threshold);
        printf("%.*s %.3f\n", (int)tag.name_length, tag.name, expected[given[i]]);
    }
    size_t best;
    assert(tagm_select(tagger, scratch, expected, tags, 0, 1, &best, 1, &count) == TAGM_OK && count == 1 && best == given[0]);
    assert(tagm_select(tagger, scratch, expected, tags, 0, 2, &best, 1, &count) == TAGM_BAD_LENGTH && count == 2);

    tagm_explanation explanation;
    tagm_contribution parts[3];
    assert(tagm_explain(tagger, ids, 3, best, &explanation, parts, 3, &count) == TAGM_OK && count == 3);
    double sum = explanation.bias + parts[0].contribution + parts[1].contribution + parts[2].contribution;
    assert(fabs(sum - explanation.logit) < 1e-4 && explanation.score == expected[best]);
    assert(tagm_explain(tagger, ids, 3, best, &explanation, parts, 2, &count) == TAGM_BAD_LENGTH && count == 3);

    /* What must fail does, with a message, and harms nothing. */
    assert(tagm_explain(tagger, ids, 3, SIZE_MAX, &explanation, parts, 3, &count) == TAGM_UNKNOWN &&
           strstr(tagm_message(), "tag: expected a number below"));
    uint32_t beyond = (uint32_t)tagm_keyword_count(tagger);
    float one;
    assert(tagm_score(tagger, scratch, &beyond, 1, expected, tags) == TAGM_UNKNOWN && strstr(tagm_message(), "keyword id"));
    assert(tagm_score(tagger, scratch, ids, 3, &one, 1) == TAGM_BAD_LENGTH && strstr(tagm_message(), "expected length"));
    assert(tagm_score(NULL, scratch, ids, 3, expected, tags) == TAGM_BAD_ARGUMENT && strstr(tagm_message(), "tagger"));
    assert(tagm_score(tagger, NULL, ids, 3, expected, tags) == TAGM_BAD_ARGUMENT);
    assert(tagm_score(tagger, scratch, NULL, 3, expected, tags) == TAGM_BAD_ARGUMENT && strstr(tagm_message(), "ids"));
    assert(tagm_score(tagger, scratch, ids, SIZE_MAX, expected, tags) == TAGM_BAD_ARGUMENT);
    assert(tagm_score(tagger, scratch, NULL, 0, expected, tags) == TAGM_OK);
    starts[1] = 7;
    assert(tagm_score_batch(tagger, scratch, batch, 6, starts, 3, &one, 1) == TAGM_BAD_LENGTH);
    assert(tagm_tag_at(tagger, tags, &(tagm_tag){0}) == TAGM_UNKNOWN);
    assert(tagm_tag_at(tagger, 0, NULL) == TAGM_BAD_ARGUMENT);
    assert(tagm_score(tagger, scratch, ids, 3, expected, tags) == TAGM_OK);
    free(given);
    tagm_scratch_free(scratch);
}

/* A process that is forked while others' threads score has the tagger too: it scores, with a scratch of its own, and frees all. */
static pid_t fork_and_serve(void) {
    fflush(stdout);
    pid_t child = fork();
    assert(child >= 0);
    if (child > 0) return child;
    serve(NULL);
    tagm_free(tagger);
    free(expected);
    _exit(7);
}

static void open_badly(const char *path) {
    tagm_tagger *none = (tagm_tagger *)path;
    assert(tagm_open("no/such/file.tagm", &none) == TAGM_IO && none == NULL && strstr(tagm_message(), "no/such/file.tagm"));
    assert(tagm_open(NULL, &none) == TAGM_BAD_ARGUMENT);
    assert(tagm_open(path, NULL) == TAGM_BAD_ARGUMENT);
    assert(tagm_from_bytes("not a model", 11, &none) == TAGM_BAD_MODEL && none == NULL && strstr(tagm_message(), "magic"));
    assert(tagm_from_bytes(NULL, 0, &none) == TAGM_BAD_MODEL);
    assert(tagm_tag_count(NULL) == 0 && tagm_keyword_count(NULL) == 0 && tagm_verify(NULL) == TAGM_BAD_ARGUMENT);
    tagm_free(NULL);
    tagm_scratch_free(NULL);
}

int main(int count, char **arguments) {
    assert(count == 2 && tagm_abi_version() == TAGM_ABI_VERSION && strlen(tagm_version()) > 0);
    open_badly(arguments[1]);
    uint64_t opened, mapped;
    const void *bytes;
    size_t length;
    assert(tagm_open(arguments[1], &tagger) == TAGM_OK && tagm_signature(tagger, &opened) == TAGM_OK);
    tagm_tagger *copy;
    assert(tagm_bytes(tagger, &bytes, &length) == TAGM_OK && tagm_from_bytes(bytes, length, &copy) == TAGM_OK);
    assert(tagm_signature(copy, &mapped) == TAGM_OK && mapped == opened);
    assert(tagm_bytes(NULL, &bytes, &length) == TAGM_BAD_ARGUMENT && tagm_bytes(copy, NULL, &length) == TAGM_BAD_ARGUMENT);
    assert(tagm_save(copy, "no/such/folder/m.tagm") == TAGM_IO && tagm_save(copy, NULL) == TAGM_BAD_ARGUMENT);
    tagm_free(copy);
    tagm_free(tagger);
    assert(tagm_map(arguments[1], &tagger) == TAGM_OK && tagm_verify(tagger) == TAGM_OK);
    assert(tagm_signature(tagger, &mapped) == TAGM_OK && mapped == opened);

    look_up();
    expected = malloc(tagm_tag_count(tagger) * sizeof *expected);
    score_and_print();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert(pthread_create(&threads[i], NULL, serve, NULL) == 0);
    pid_t children[] = {fork_and_serve(), fork_and_serve()};
    for (int i = 0; i < THREADS; i++) assert(pthread_join(threads[i], NULL) == 0);
    for (int i = 0, status; i < 2; i++) {
        assert(waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    free(expected);
    tagm_free(tagger);
    return 0;
}
