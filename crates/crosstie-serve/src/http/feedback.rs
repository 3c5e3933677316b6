//! `POST /v1/feedback`: what somebody did with what was shown.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use crosstie::spelling;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::body;
use crate::failure::{Failure, Fault, found_text};
use crate::log::{Accepted, CandidateName, Feedback, Time, check_name};
use crate::object;
use crate::state;

const KEYS: [&str; 6] = ["request", "candidate", "action", "value", "time", "event"];

/// `POST /v1/feedback`. Answered when all events are on the disk.
pub async fn feedback(
    State(state): State<Arc<state::State>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, Failure> {
    let _permit = state.enter()?;
    let Some(log) = &state.log else {
        return Err(Failure::NotFound("this server keeps no log, so it takes no feedback (log.directory)".into()));
    };
    let body = body::read(&state.settings, &headers, body).await?;
    Ok(Json(log.feedback(parse(&body, state.clock.now())?).await?))
}

/// Reads one event or a list of them. What names no time happened `now`.
///
/// An event is `{"request": "9f2c", "candidate": 3, "action": "buy", "value": 12.5,
/// "time": "2026-11-27T08:00:00Z", "event": "e1"}`: `candidate` is an id, or a place in the request
/// from 0, which a number means where no id is one; `time` RFC 3339 or seconds since the beginning of 1970. The
/// last three may be left out.
///
/// # Errors
/// [`Failure::BadRequest`] with the event as its row and the key as its field.
fn parse(body: &[u8], now: Time) -> Result<Vec<Feedback>, Failure> {
    let whole: &RawValue = serde_json::from_slice(body).map_err(|error| object::wrong(&error))?;
    let events: Vec<&RawValue> = match whole.get().starts_with('[') {
        true => serde_json::from_str(whole.get()).map_err(|error| object::wrong(&error))?,
        false => vec![whole],
    };
    (1..).zip(events).map(|(row, event)| one(row, event, now)).collect()
}

fn one(row: u64, event: &RawValue, now: Time) -> Result<Feedback, Failure> {
    let keys: Map<String, Value> = object::read(event.get().as_bytes()).map_err(|failure| match failure {
        Failure::BadRequest(fault) => Failure::BadRequest(Fault { row: Some(row), ..fault }),
        other => other,
    })?;
    let event = Keys { row, keys: &keys };
    if let Some(unknown) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = spelling::hint(unknown, KEYS);
        return Err(event.wrong(unknown, &format!("no such key{hint}")));
    }
    Ok(Feedback {
        request: event.text("request")?.ok_or_else(|| event.wrong("request", "a text"))?,
        candidate: event.candidate()?,
        action: event.text("action")?.ok_or_else(|| event.wrong("action", "a text"))?,
        value: event.value()?,
        time: event.time()?.unwrap_or(now),
        received: now,
        event: event.text("event")?,
    })
}

/// The keys of one event.
struct Keys<'a> {
    /// Which event, from 1.
    row: u64,
    keys: &'a Map<String, Value>,
}

impl Keys<'_> {
    /// The value of a key that is there and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, expected: &str) -> Failure {
        let found = self.keys.get(key).map_or_else(|| "nothing".into(), found);
        Failure::BadRequest(Fault { field: Some(key.into()), row: Some(self.row), found, expected: expected.into() })
    }

    fn text(&self, key: &str) -> Result<Option<String>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => match check_name(text) {
                Ok(()) => Ok(Some(text.clone())),
                Err(expected) => Err(self.wrong(key, &expected)),
            },
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    fn candidate(&self) -> Result<CandidateName, Failure> {
        let expected = "its id, or its place in the request, from 0";
        match self.get("candidate") {
            // Whatever a request called it.
            Some(Value::String(text)) => Some(CandidateName::Id(text.clone())),
            Some(Value::Number(number)) => {
                // To JSON 3.0 is 3.
                let place = |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number);
                let place = number.as_f64().filter(place).map(|number| CandidateName::Number(number as u32));
                // Beyond the places there are ids.
                place.or_else(|| (number.is_i64() || number.is_u64()).then(|| CandidateName::Id(number.to_string())))
            }
            _ => None,
        }
        .ok_or_else(|| self.wrong("candidate", expected))
    }

    fn value(&self) -> Result<Option<f64>, Failure> {
        match self.get("value") {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.wrong("value", "a number")),
        }
    }

    fn time(&self) -> Result<Option<Time>, Failure> {
        let time = match self.get("time") {
            None => return Ok(None),
            Some(Value::String(text)) => Time::parse(text),
            Some(value) => value.as_f64().and_then(Time::from_seconds),
        };
        let expected = "a time such as 2026-11-27T08:00:00Z, or seconds since the beginning of 1970";
        time.map(Some).ok_or_else(|| self.wrong("time", expected))
    }
}

/// A value in few words.
fn found(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) => found_text(text),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn wrong(body: &str) -> String {
        parse(body.as_bytes(), Time(0)).unwrap_err().to_string()
    }

    #[test]
    fn one_event_and_a_list_are_read() {
        let body = r#"{"request": "9f2c", "candidate": 3, "action": "buy", "value": 12.5, "time": "2026-11-27T08:00:00+01:00", "event": "e1"}"#;
        let event = Feedback {
            request: "9f2c".into(),
            candidate: CandidateName::Number(3),
            action: "buy".into(),
            value: Some(12.5),
            time: Time(1_795_762_800_000_000),
            received: Time(9),
            event: Some("e1".into()),
        };
        assert_eq!(parse(body.as_bytes(), Time(9)), Ok(vec![event.clone()]));
        let short = r#"{"request": "9f2c", "candidate": "i3", "action": "buy", "value": null, "time": 1795762800}"#;
        let other = Feedback { candidate: CandidateName::Id("i3".into()), value: None, event: None, ..event.clone() };
        assert_eq!(parse(format!("[{body}, {short}]").as_bytes(), Time(9)), Ok(vec![event, other]));
        assert_eq!(parse(b"[]", Time(9)), Ok(vec![]));
        let now = parse(br#"{"request": "9f2c", "candidate": 3.0, "action": "buy"}"#, Time(9)).unwrap();
        assert_eq!(now[0].candidate, CandidateName::Number(3));
        assert_eq!(now[0].time, Time(9));
        let large = parse(br#"{"request": "9f2c", "candidate": 12345678901, "action": "buy"}"#, Time(9)).unwrap();
        assert_eq!(large[0].candidate, CandidateName::Id("12345678901".into()));
    }

    #[test]
    fn ids_that_were_ranked_were_refused() {
        for id in [String::new(), "a\nb".into(), "i".repeat(300)] {
            let body = json!({"request": "r", "candidate": id, "action": "buy"}).to_string();
            assert_eq!(parse(body.as_bytes(), Time(9)).unwrap()[0].candidate, CandidateName::Id(id));
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_event_and_key() {
        let right = r#"{"request": "r", "candidate": 1, "action": "a"}"#;
        for (event, expected) in [
            (r#"{"candidate": 1, "action": "a"}"#, "field `request`, row 2: found nothing, expected a text"),
            (r#"{"request": "", "candidate": 1, "action": "a"}"#, "field `request`, row 2: found \"\", expected"),
            (
                r#"{"request": "r", "candidate": true, "action": "a"}"#,
                "field `candidate`, row 2: found true, expected its",
            ),
            (
                r#"{"request": "r", "candidate": 1.5, "action": "a"}"#,
                "field `candidate`, row 2: found 1.5, expected its",
            ),
            (r#"{"request": "r", "candidate": 1, "action": 7}"#, "field `action`, row 2: found 7, expected a text"),
            (r#"{"request": "r", "candidate": 1, "action": "a\nb"}"#, "without control characters"),
            (r#"{"request": "r", "candidate": 1, "action": "a", "value": "1"}"#, "field `value`, row 2: found \"1\""),
            (
                r#"{"request": "r", "candidate": 1, "action": "a", "time": 1795762800250}"#,
                "field `time`, row 2: found 1795",
            ),
            (
                r#"{"request": "r", "candidate": 1, "action": "a", "time": "noon"}"#,
                "field `time`, row 2: found \"noon\"",
            ),
            (
                r#"{"request": "r", "candidate": 1, "acton": "a"}"#,
                "field `acton`, row 2: found \"a\", expected no such key; did you mean `action`?",
            ),
            ("7", "row 2: found 7, expected an object"),
            ("[7]", "row 2: found an array, expected an object"),
            (
                r#"{"request": "r", "request": "s", "candidate": 1, "action": "a"}"#,
                "field `request`, row 2: found a second value, expected one",
            ),
            (r#"{"request": "r", "candidate": 1, "action": "\ud83d"}"#, "field `action`, row 2: found what cannot be"),
        ] {
            let said = wrong(&format!("[{right}, {event}]"));
            assert!(said.contains(expected), "{event}: {said}");
        }
        assert!(wrong("{").contains("found what cannot be read: EOF"));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body, Time(0));
        }

        #[test]
        fn accepted_feedback_is_read_back_from_its_record(text in "\\PC{1,60}", number in any::<u32>(), value in any::<f64>()) {
            let body = json!([{"request": text, "candidate": number, "action": text, "value": value, "event": text},
                {"request": text, "candidate": text, "action": text}]);
            let events = parse(body.to_string().as_bytes(), Time(5)).unwrap();
            for event in events {
                let json = serde_json::to_string(&event).unwrap();
                prop_assert_eq!(serde_json::from_str::<Feedback>(&json).unwrap(), event);
            }
        }
    }
}
