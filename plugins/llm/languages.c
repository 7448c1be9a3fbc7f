/* Codes of ISO 639-1 and English names of languages. */
#include "llm/languages.h"

#include <stddef.h>
#include <strings.h>

static const struct {
    const char *code, *name;
} languages[] = {
    {"af", "Afrikaans"},  {"ar", "Arabic"},    {"az", "Azerbaijani"}, {"be", "Belarusian"},
    {"bg", "Bulgarian"},  {"bn", "Bengali"},   {"bs", "Bosnian"},     {"ca", "Catalan"},
    {"cs", "Czech"},      {"cy", "Welsh"},     {"da", "Danish"},      {"de", "German"},
    {"el", "Greek"},      {"en", "English"},   {"es", "Spanish"},     {"et", "Estonian"},
    {"eu", "Basque"},     {"fa", "Persian"},   {"fi", "Finnish"},     {"fr", "French"},
    {"ga", "Irish"},      {"gl", "Galician"},  {"gu", "Gujarati"},    {"he", "Hebrew"},
    {"hi", "Hindi"},      {"hr", "Croatian"},  {"hu", "Hungarian"},   {"hy", "Armenian"},
    {"id", "Indonesian"}, {"is", "Icelandic"}, {"it", "Italian"},     {"ja", "Japanese"},
    {"ka", "Georgian"},   {"kk", "Kazakh"},    {"km", "Khmer"},       {"kn", "Kannada"},
    {"ko", "Korean"},     {"lo", "Lao"},       {"lt", "Lithuanian"},  {"lv", "Latvian"},
    {"mk", "Macedonian"}, {"ml", "Malayalam"}, {"mn", "Mongolian"},   {"mr", "Marathi"},
    {"ms", "Malay"},      {"mt", "Maltese"},   {"my", "Burmese"},     {"ne", "Nepali"},
    {"nl", "Dutch"},      {"no", "Norwegian"}, {"pa", "Punjabi"},     {"pl", "Polish"},
    {"pt", "Portuguese"}, {"ro", "Romanian"},  {"ru", "Russian"},     {"sk", "Slovak"},
    {"sl", "Slovenian"},  {"so", "Somali"},    {"sq", "Albanian"},    {"sr", "Serbian"},
    {"sv", "Swedish"},    {"sw", "Swahili"},   {"ta", "Tamil"},       {"te", "Telugu"},
    {"tg", "Tajik"},      {"th", "Thai"},      {"tl", "Tagalog"},     {"tr", "Turkish"},
    {"uk", "Ukrainian"},  {"ur", "Urdu"},      {"uz", "Uzbek"},       {"vi", "Vietnamese"},
    {"yi", "Yiddish"},    {"zh", "Chinese"},   {"zu", "Zulu"},
};

#define N_LANGUAGES (sizeof languages / sizeof *languages)

const char *lm_language_name(const char *language) {
    for (size_t i = 0; i < N_LANGUAGES; i++)
        if (strcasecmp(languages[i].code, language) == 0)
            return languages[i].name;
    return language;
}

const char *lm_language_code(const char *language) {
    for (size_t i = 0; i < N_LANGUAGES; i++)
        if (strcasecmp(languages[i].code, language) == 0 ||
            strcasecmp(languages[i].name, language) == 0)
            return languages[i].code;
    return language;
}
