"""The built-in taggers by name, each where it is found. A table, so that listing names imports no tagger."""

from __future__ import annotations

# Names of Dolma 1.x end in a version and live in dolma/taggers/dolma1; what they answer is in docs/dolma1.md.
BUILT_IN: dict[str, str] = {
    # length
    "length": "dolma.taggers.length:Length",
    # gopher
    "gopher": "dolma.taggers.gopher:Gopher",
    "gopher_datatrove": "dolma.taggers.gopher_datatrove:GopherDatatrove",
    "gopher_v1": "dolma.taggers.dolma1.gopher:GopherV1",
    "gopher_v2": "dolma.taggers.dolma1.gopher:GopherV2",
    # lines: FineWeb, C4
    "fineweb": "dolma.taggers.fineweb:FineWeb",
    "refinedweb": "dolma.taggers.refinedweb:RefinedWeb",
    "madlad": "dolma.taggers.madlad:Madlad",
    "c4_v1": "dolma.taggers.dolma1.c4:C4V1",
    "c4_v2": "dolma.taggers.dolma1.c4:C4V2",
    # language and classifiers
    "language": "dolma.taggers.language:Language",
    "fasttext": "dolma.taggers.fasttext:FastText",
    "ft_lang_id_doc_v1": "dolma.taggers.dolma1.language:FtLangIdDocV1",
    "ft_lang_id_1e2": "dolma.taggers.dolma1.language:FtLangId1e2",
    "ft_lang_id_paragraph_v1": "dolma.taggers.dolma1.language:FtLangIdParagraphV1",
    "ft_lang_id_en_doc_v2": "dolma.taggers.dolma1.language:FtLangIdEnDocV2",
    "ft_lang_id_en_only_v2": "dolma.taggers.dolma1.language:FtLangIdEnOnlyV2",
    "ft_lang_id_en_paragraph_v2": "dolma.taggers.dolma1.language:FtLangIdEnParagraphV2",
    "ft_lang_id_en_paragraph_with_doc_score_v2": ("dolma.taggers.dolma1.language:FtLangIdEnParagraphWithDocScoreV2"),
    "jigsaw_hatespeech_document_v2": "dolma.taggers.dolma1.classifiers:JigsawHatespeechDocumentV2",
    "jigsaw_hatespeech_sentence_v2": "dolma.taggers.dolma1.classifiers:JigsawHatespeechSentenceV2",
    "jigsaw_nsfw_document_v1": "dolma.taggers.dolma1.classifiers:JigsawNsfwDocumentV1",
    "jigsaw_nsfw_sencence_v2": "dolma.taggers.dolma1.classifiers:JigsawNsfwSentenceV2",
    "dclm-oh-eli5": "dolma.taggers.dolma1.classifiers:DclmOhEli5",
    "dolma17-quality": "dolma.taggers.dolma1.classifiers:Dolma17Quality",
    # language models and transformers
    "perplexity": "dolma.taggers.perplexity:Perplexity",
    # scripts
    "script": "dolma.taggers.script:Script",
    # URLs
    "url": "dolma.taggers.url:Url",
    "url_list": "dolma.taggers.url_list:UrlList",
    # damage, compression, structure, signals
    "encoding": "dolma.taggers.encoding:Encoding",
    "compression": "dolma.taggers.compression:Compression",
    "structure": "dolma.taggers.structure:Structure",
    "redpajama": "dolma.taggers.redpajama:RedPajama",
    # personal data
    "pii": "dolma.taggers.pii:Pii",
    # Dolma 1.x: lengths, paragraphs, repetitions, tokens, random numbers
    "bytes_length_v1": "dolma.taggers.dolma1.lengths:BytesLengthV1",
    "doc_count_v1": "dolma.taggers.dolma1.lengths:DocCountV1",
    "char_length_v1": "dolma.taggers.dolma1.lengths:CharLengthV1",
    "char_length_strip_ws_v1": "dolma.taggers.dolma1.lengths:CharLengthStripWsV1",
    "char_length_with_paragraphs_v1": "dolma.taggers.dolma1.lengths:CharLengthWithParagraphsV1",
    "whitespace_tokenizer_v1": "dolma.taggers.dolma1.lengths:WhitespaceTokenizerV1",
    "whitespace_tokenizer_with_paragraphs_v1": "dolma.taggers.dolma1.lengths:WhitespaceTokenizerWithParagraphsV1",
    "uniseg_length_v1": "dolma.taggers.dolma1.lengths:UnisegLengthV1",
    "uniseg_length_paragraphs_v1": "dolma.taggers.dolma1.lengths:UnisegLengthParagraphsV1",
    "uniseg_length_paragraphs_with_empty_v1": "dolma.taggers.dolma1.lengths:UnisegLengthParagraphsWithEmptyV1",
    "uniseg_length_paragraphs_with_doc_length_v1": (
        "dolma.taggers.dolma1.lengths:UnisegLengthParagraphsWithDocLengthV1"
    ),
    "not_alphanum_paragraph_v1": "dolma.taggers.dolma1.paragraphs:NotAlphanumParagraphV1",
    "repetitions_v1": "dolma.taggers.dolma1.repetitions:RepetitionsV1",
    "paragraph_repetitions_v1": "dolma.taggers.dolma1.repetitions:ParagraphRepetitionsV1",
    "olmo_pretokenizer_v1": "dolma.taggers.dolma1.tokenizers:OlmoPretokenizerV1",
    "olmo_pretokenizer_with_paragraphs_v1": "dolma.taggers.dolma1.tokenizers:OlmoPretokenizerWithParagraphsV1",
    "dolma_v1_tokenizer": "dolma.taggers.dolma1.tokenizers:DolmaV1Tokenizer",
    "dolma_v2_tokenizer": "dolma.taggers.dolma1.tokenizers:DolmaV2Tokenizer",
    "tokenizers_EleutherAI_GPT_NeoX_20B": "dolma.taggers.dolma1.tokenizers:GptNeox20B",
    "tokenizers_AI2_OLMo_v1": "dolma.taggers.dolma1.tokenizers:Ai2OlmoV1",
    "tokens": "dolma.taggers.tokens:Tokens",
    "tokenizer_repetitions_v1": "dolma.taggers.dolma1.token_repetitions:TokenizerRepetitionsV1",
    "paragraph_tokenizer_repetitions_v1": "dolma.taggers.dolma1.token_repetitions:ParagraphTokenizerRepetitionsV1",
    "tokenizer_repetitions_v2r2": "dolma.taggers.dolma1.token_repetitions:TokenizerRepetitionsV2r2",
    # Dolma 1.x: personal data
    "pii_presidio_v1": "dolma.taggers.dolma1.presidio:PiiPresidioV1",
    "pii_regex_v1": "dolma.taggers.dolma1.pii:PiiRegexV1",
    "pii_regex_v2": "dolma.taggers.dolma1.pii:PiiRegexV2",
    "pii_regex_with_counts_v2": "dolma.taggers.dolma1.pii:PiiRegexWithCountsV2",
    "pii_regex_with_counts_fast_v2": "dolma.taggers.dolma1.pii:PiiRegexWithCountsFastV2",
    # Dolma 1.x: URLs
    "domain_blocklist_utp_v1": "dolma.taggers.dolma1.urls:DomainBlocklistUtpV1",
    "link_blocklist_phishing_v1": "dolma.taggers.dolma1.urls:LinkBlocklistPhishingV1",
    "domain_blocklist_phishing_v1": "dolma.taggers.dolma1.urls:DomainBlocklistPhishingV1",
    "oisd_small_abp_v1": "dolma.taggers.dolma1.urls:OisdSmallAbpV1",
    "oisd_big_abp_v1": "dolma.taggers.dolma1.urls:OisdBigAbpV1",
    "oisd_nsfw_abp_v1": "dolma.taggers.dolma1.urls:OisdNsfwAbpV1",
    "brave_core_abp_v1": "dolma.taggers.dolma1.urls:BraveCoreAbpV1",
    "brave_nsfw_abp_v1": "dolma.taggers.dolma1.urls:BraveNsfwAbpV1",
    "blocklist_project_nsfw_v1": "dolma.taggers.dolma1.urls:BlocklistProjectNsfwV1",
    "blocklist_project_social_v1": "dolma.taggers.dolma1.urls:BlocklistProjectSocialV1",
    "blocklist_project_crime_v1": "dolma.taggers.dolma1.urls:BlocklistProjectCrimeV1",
    "blocklist_project_vice_v1": "dolma.taggers.dolma1.urls:BlocklistProjectViceV1",
    "blocklist_project_ads_v1": "dolma.taggers.dolma1.urls:BlocklistProjectAdsV1",
    "blocklist_firebog_ads_v1": "dolma.taggers.dolma1.urls:BlocklistFirebogAdsV1",
    "blocklist_firebog_crypto_v1": "dolma.taggers.dolma1.urls:BlocklistFirebogCryptoV1",
    "blocklist_firebog_malicious_v1": "dolma.taggers.dolma1.urls:BlocklistFirebogMaliciousV1",
    "blocklist_firebog_nsfw_v1": "dolma.taggers.dolma1.urls:BlocklistFirebogNsfwV1",
    "blocklist_firebog_social_v1": "dolma.taggers.dolma1.urls:BlocklistFirebogSocialV1",
    "blocklist_firebog_suspicious_v1": "dolma.taggers.dolma1.urls:BlocklistFirebogSuspiciousV1",
    "blocklist_firebog_trackers_v1": "dolma.taggers.dolma1.urls:BlocklistFirebogTrackersV1",
    "blocklist_hosts_adware_malware_v1": "dolma.taggers.dolma1.urls:BlocklistHostsAdwareMalwareV1",
    "blocklist_hosts_fakenews_v1": "dolma.taggers.dolma1.urls:BlocklistHostsFakenewsV1",
    "blocklist_hosts_gambling_v1": "dolma.taggers.dolma1.urls:BlocklistHostsGamblingV1",
    "blocklist_hosts_porn_v1": "dolma.taggers.dolma1.urls:BlocklistHostsPornV1",
    "blocklist_hosts_social_v1": "dolma.taggers.dolma1.urls:BlocklistHostsSocialV1",
    "allowlist_wikidata_v1": "dolma.taggers.dolma1.urls:AllowlistWikidataV1",
    "allowlist_wikidata_cleaned_v1": "dolma.taggers.dolma1.urls:AllowlistWikidataCleanedV1",
    # Dolma 1.x: random numbers
    "random_number_v1": "dolma.taggers.dolma1.sampling:RandomNumberV1",
    "random": "dolma.taggers.dolma1.sampling:Random",
}
