//! The words in the names of columns, and what they hint at.

/// Actions that somebody may want to predict.
pub(super) const ACTIONS: &str = "\
    click clicks clicked clk view viewed open opened visit visited watch watched finish finished cart \
    addtocart atc buy bought purchase purchased order ordered pay paid payment conversion convert converted \
    cvr ctr install installed subscribe subscribed signup register registered book booked booking apply \
    applied like liked dislike disliked hate hated love loved favorite favourite follow followed comment \
    commented share shared forward forwarded reply replied save saved download downloaded recommended \
    response responded label target churn churned default defaulted renewed survived enter outcome y";
/// In front of or behind an action they make it one of long ago.
const EARLIER: &str = "before previous previously prior prev past last ever history hist old ago";
/// They only say that a name is an action's.
const AUXILIARIES: &str = "is has did was label target flag";

pub(super) const USERS: &str = "\
    user uid member customer client household visitor viewer reader person student patient account buyer \
    consumer passenger guest player subscriber cookie employee";
/// What describes a person.
const OF_USERS: &str = "\
    age gender sex occupation profession income marital married education race ethnicity citizenship \
    nationality kids children register registered signup fans friend friends";
pub(super) const ITEMS: &str = "\
    item iid product video movie film song track article news doc document ad advert adgroup creative \
    campaign book game hotel restaurant clothing sku photo post lecturer recipe course";
/// What describes a thing.
const OF_ITEMS: &str = "\
    author seller merchant shop brand category genre genres tag tags music publisher price title \
    manufacturer department division released release upload package";
/// What belongs to the moment, even where it seems to be a person's or a thing's.
const OF_THE_MOMENT: &str = "\
    hour minute weekday dow day week month season position pos rank slot page tab channel device os \
    platform browser network store query weather placement surface";
pub(super) const SESSIONS: &str = "\
    session sess search request req query basket impression pageview order transaction receipt trace visit \
    trip rowid";
pub(super) const SCENARIOS: &str = "scenario scene tab page channel placement surface domain site slot feed";
/// Numbers by which something is known.
pub(super) const CODES: &str = "\
    id code type category categorical cat class kind group segment zip zipcode postcode region state city \
    country dept department channel gender sex flag level bucket cluster lang language version status hour \
    weekday dow month onehot feat hash key model tab store brand";
/// Numbers that measure something.
pub(super) const AMOUNTS: &str = "\
    age price amount count cnt num number total sum avg mean duration seconds minutes hours days weeks \
    months years ms length width height size score rate ratio share distance quantity qty views cost value \
    gain loss balance income temp numerical numeric wage salary per fee";
/// Words that name the time of a row.
pub(super) const TIMES: &str = "timestamp time date datetime ts dt when";
/// Times of something else than the row.
pub(super) const OTHER_TIMES: &str = "\
    birth birthday born signup register registered registration join joined created creation release \
    released upload uploaded publish published built expire expires last first since prev previous";
/// What is measured while or after something happened.
const AFTERWARDS: &str = "dwell stay spend spent revenue playtime watchtime gmv refund payout";

/// The words of a name in small letters: `userId`, `user_id` and `USER ID` have the
/// same two. Digits at the end of a word are no part of it.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before: Option<char> = None;
    for letter in name.chars() {
        let begins = letter.is_uppercase() && before.is_some_and(char::is_lowercase);
        if !letter.is_alphanumeric() || begins {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            if words.is_empty() {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(letter.to_lowercase());
            }
        }
        before = Some(letter);
    }
    let known = |stem: &str| is_in(stem, USERS) || is_in(stem, ITEMS) || is_in(stem, SESSIONS);
    let parts = |word: String| {
        let word = match word.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "" => word,
            letters => letters.to_string(),
        };
        match word.strip_suffix("id") {
            Some(stem) if known(stem) => vec![stem.to_string(), "id".to_string()],
            _ => vec![word],
        }
    };
    words.into_iter().filter(|word| !word.is_empty()).flat_map(parts).collect()
}

/// Whether a word is in a list.
pub(super) fn is_in(word: &str, list: &str) -> bool {
    list.split_whitespace().any(|listed| listed == word)
}

/// Whether one of some words is in a list.
pub(super) fn has(words: &[String], list: &str) -> bool {
    words.iter().any(|word| is_in(word, list))
}

/// Whether the last of some words is in a list.
pub(super) fn ends(words: &[String], list: &str) -> bool {
    words.last().is_some_and(|word| is_in(word, list))
}

/// Whether a name is that of an action.
pub(super) fn is_action(name: &str) -> bool {
    let words = words(name);
    !has(&words, EARLIER) && ends(&words, ACTIONS) && !(words.len() > 1 && has(&words, "num count rate"))
}

/// The name of a task by that of its column: without `is_` in front.
pub(super) fn task_name(column: &str) -> &str {
    let stripped = AUXILIARIES.split_whitespace().find_map(|word| column.strip_prefix(word)?.strip_prefix('_'));
    stripped.filter(|name| !name.is_empty()).unwrap_or(column)
}

/// Whether a name is that of an entity's number: `user`, `user_id`, `UserID`.
pub(super) fn is_id_of(name: &str, entities: &str) -> bool {
    let words = words(name);
    has(&words, entities) && words.iter().all(|word| is_in(word, entities) || is_in(word, "id key hash no code number"))
}

/// Whether a name is that of the number of whatever the rows are of: `id` alone.
pub(super) fn is_bare_id(name: &str) -> bool {
    words(name) == ["id"]
}

/// Whether a name says that it was measured after the row was shown.
pub(super) fn is_afterwards(name: &str) -> bool {
    let words = words(name);
    let pair = |one: &str, other: &str| words.windows(2).any(|two| two[0] == one && two[1] == other);
    has(&words, AFTERWARDS) || pair("play", "time") || pair("watch", "time") || pair("view", "time")
}

/// Whom a name speaks of: a person, a thing, the moment, or nobody knows.
pub(super) fn side(name: &str) -> Option<crate::schema::Side> {
    use crate::schema::Side::*;
    let words = words(name);
    match () {
        () if has(&words, OF_THE_MOMENT) && !has(&words, USERS) && !has(&words, ITEMS) => Some(Context),
        () if has(&words, USERS) => Some(User),
        () if has(&words, ITEMS) => Some(Item),
        () if has(&words, OF_USERS) => Some(User),
        () if has(&words, OF_ITEMS) => Some(Item),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Side;

    #[test]
    fn names_are_taken_apart_however_they_are_written() {
        for name in ["user_id", "userId", "USER ID", "userid", "user-id"] {
            assert_eq!(words(name), ["user", "id"], "{name}");
        }
        assert_eq!(words("onehot_feat17"), ["onehot", "feat"]);
        assert_eq!(words("301"), ["301"]);
    }

    #[test]
    fn actions_are_told_from_counts_and_from_what_was_before() {
        for name in ["click", "is_click", "long_view", "isLiked", "profile_enter", "label"] {
            assert!(is_action(name), "{name}");
        }
        for name in ["clicks_before", "last_click", "click_rate", "num_clicks", "is_video_author", "device"] {
            assert!(!is_action(name), "{name}");
        }
        assert_eq!((task_name("is_click"), task_name("island"), task_name("label")), ("click", "island", "label"));
    }

    #[test]
    fn sides_are_told_by_words() {
        assert_eq!(side("user_age"), Some(Side::User));
        assert_eq!(side("gender"), Some(Side::User));
        assert_eq!(side("video_tag"), Some(Side::Item));
        assert_eq!(side("hour"), Some(Side::Context));
        assert_eq!(side("x7"), None);
        assert!(is_id_of("UserID", USERS) && !is_id_of("user_active_degree", USERS));
    }
}
