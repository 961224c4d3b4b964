//! When faults may be injected: weekly windows and days off, in a time zone. Reads them, and says whether an instant
//! is inside; which instant that is, the caller knows. The zones are those that jiff brings along, not the system's, so
//! that the same file means the same on every machine.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// Minutes of a day.
const DAY: u16 = 24 * 60;
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Windows and days off, in one time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// IANA name of the zone, which was looked up when the file was read.
    pub zone: String,
    /// When faults may be injected; always when empty.
    pub windows: Vec<Window>,
    /// Days on which none may.
    pub not_on: Vec<DaysOff>,
}

/// A stretch of the week, such as `mon-fri 09:00-16:00`. One that ends before it begins ends on the next day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    text: String,
    days: Vec<Weekday>,
    /// Minutes since midnight; the end is not inside.
    from: u16,
    to: u16,
}

/// Days off, the last one included, such as `2026-12-24..2027-01-02`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DaysOff {
    first: Date,
    last: Date,
}

/// A text that is no window, no days, or no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CalendarError(String);

/// The zone of this IANA name.
pub fn zone(name: &str) -> Result<TimeZone, CalendarError> {
    let found = TimeZoneDatabase::bundled().get(name);
    found.map_err(|_| CalendarError(format!("{name:?} is no time zone of the IANA database")))
}

impl Calendar {
    /// Says why nothing may be broken at `at`, if so.
    pub fn check(&self, at: Timestamp) -> Result<(), String> {
        let zone = zone(&self.zone).map_err(|error| error.to_string())?;
        let here = at.to_zoned(zone);
        let date = here.date();
        let now = format!(
            "it is {} {date} {:02}:{:02} in {}",
            short(here.weekday()),
            here.hour(),
            here.minute(),
            self.zone
        );
        if let Some(off) = self.not_on.iter().find(|off| (off.first..=off.last).contains(&date)) {
            return Err(format!("{now}, and the target is not to be touched on {off}"));
        }
        let minute = u16::from(here.hour().unsigned_abs()) * 60 + u16::from(here.minute().unsigned_abs());
        let inside = |window: &Window| window.holds(here.weekday(), minute);
        if self.windows.is_empty() || self.windows.iter().any(inside) {
            return Ok(());
        }
        let windows: Vec<&str> = self.windows.iter().map(|window| window.text.as_str()).collect();
        Err(format!(
            "{now}, and the target may be touched only {}",
            windows.join(", ")
        ))
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows: Vec<&str> = self.windows.iter().map(|window| window.text.as_str()).collect();
        let when = if windows.is_empty() {
            "always".to_owned()
        } else {
            windows.join(", ")
        };
        write!(f, "{when}")?;
        if !self.not_on.is_empty() {
            let off: Vec<String> = self.not_on.iter().map(ToString::to_string).collect();
            write!(f, ", not on {}", off.join(", "))?;
        }
        write!(f, " ({})", self.zone)
    }
}

impl Window {
    fn holds(&self, day: Weekday, minute: u16) -> bool {
        let today = self.days.contains(&day);
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        (today && minute >= self.from) || (self.days.contains(&day.previous()) && minute < self.to)
    }
}

fn short(day: Weekday) -> &'static str {
    let found = WEEKDAYS.iter().find(|(_, weekday)| *weekday == day);
    found.map_or("", |(name, _)| name)
}

fn weekday(text: &str) -> Option<usize> {
    WEEKDAYS.iter().position(|(name, _)| *name == text)
}

/// `mon-fri`, `sat,sun`, `fri-mon`.
fn days(text: &str) -> Option<Vec<Weekday>> {
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (weekday(first.trim())?, weekday(last.trim())?);
        let count = (last + 7 - first) % 7 + 1;
        days.extend((0..count).map(|offset| WEEKDAYS[(first + offset) % 7].1));
    }
    Some(days)
}

/// `09:00`, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |text: &str| -> Option<u16> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY).then_some(all)
}

impl FromStr for Window {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let wrong = || CalendarError(format!("{text:?} is no window"));
        let lower = text.trim().to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        let (days_text, times) = match words.as_slice() {
            [one] if one.contains(':') => ("mon-sun", *one),
            [one] => (*one, "00:00-24:00"),
            [days, times] => (*days, *times),
            _ => return Err(wrong()),
        };
        let (from, to) = times.split_once('-').ok_or_else(wrong)?;
        let (from, to) = minute(from).zip(minute(to)).ok_or_else(wrong)?;
        if from == to || from == DAY {
            return Err(CalendarError(format!("{text:?} takes no time")));
        }
        Ok(Self {
            text: lower.clone(),
            days: days(days_text).ok_or_else(wrong)?,
            from,
            to,
        })
    }
}

impl FromStr for DaysOff {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let wrong = || CalendarError(format!("{text:?} is no day and no stretch of days"));
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let first: Date = first.trim().parse().map_err(|_| wrong())?;
        let last: Date = last.trim().parse().map_err(|_| wrong())?;
        if first > last {
            return Err(CalendarError(format!("{text:?} ends before it begins")));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for DaysOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}..{}", self.first, self.last)
        }
    }
}

impl TryFrom<String> for Window {
    type Error = CalendarError;
    fn try_from(text: String) -> Result<Self, CalendarError> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.text
    }
}

impl TryFrom<String> for DaysOff {
    type Error = CalendarError;
    fn try_from(text: String) -> Result<Self, CalendarError> {
        text.parse()
    }
}

impl From<DaysOff> for String {
    fn from(days: DaysOff) -> Self {
        days.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(windows: &[&str], not_on: &[&str]) -> Calendar {
        Calendar {
            zone: "Europe/Berlin".to_owned(),
            windows: windows.iter().map(|text| text.parse().unwrap()).collect(),
            not_on: not_on.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn allows(calendar: &Calendar, at: &str) -> bool {
        calendar.check(at.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_window_is_meant_in_its_zone_summer_and_winter() {
        let work = calendar(&["mon-fri 09:00-16:00"], &[]);
        for (at, inside) in [
            ("2026-11-26T08:00:00Z", true), // Thursday, 09:00 in winter
            ("2026-11-26T07:59:59Z", false),
            ("2026-11-26T14:59:59Z", true),
            ("2026-11-26T15:00:00Z", false),
            ("2026-07-02T07:00:00Z", true), // Thursday, 09:00 in summer
            ("2026-07-02T14:00:00Z", false),
            ("2026-11-28T10:00:00Z", false), // Saturday
        ] {
            assert_eq!(allows(&work, at), inside, "{at}");
        }
        let said = work.check("2026-11-28T10:00:00Z".parse().unwrap()).unwrap_err();
        assert_eq!(
            said,
            "it is sat 2026-11-28 11:00 in Europe/Berlin, and the target may be touched only mon-fri 09:00-16:00"
        );
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        let nights = calendar(&["fri 22:00-04:00"], &[]);
        for (at, inside) in [
            ("2026-11-27T21:00:00Z", true),  // Friday 22:00
            ("2026-11-28T02:59:00Z", true),  // Saturday 03:59
            ("2026-11-28T03:00:00Z", false), // Saturday 04:00
            ("2026-11-28T21:00:00Z", false), // Saturday 22:00
            ("2026-11-27T02:00:00Z", false), // Friday 03:00
        ] {
            assert_eq!(allows(&nights, at), inside, "{at}");
        }
        assert!(allows(&calendar(&["sat-sun"], &[]), "2026-11-29T22:59:00Z"));
        assert!(allows(&calendar(&["fri-mon 10:00-24:00"], &[]), "2026-11-30T22:59:00Z"));
    }

    #[test]
    fn days_off_come_before_windows() {
        let calendar = calendar(&[], &["2026-12-24..2027-01-02", "2026-05-01"]);
        for (at, allowed) in [
            ("2026-12-23T22:59:00Z", true),
            ("2026-12-23T23:00:00Z", false), // the 24th in Berlin
            ("2027-01-02T22:59:00Z", false),
            ("2027-01-02T23:00:00Z", true),
            ("2026-05-01T10:00:00Z", false),
        ] {
            assert_eq!(allows(&calendar, at), allowed, "{at}");
        }
        let said = calendar.check("2026-12-25T10:00:00Z".parse().unwrap()).unwrap_err();
        assert!(said.ends_with("not to be touched on 2026-12-24..2027-01-02"), "{said}");
    }

    #[test]
    fn what_is_no_window_is_told() {
        for bad in [
            "",
            "mon-fry 09:00-16:00",
            "mon 9-16",
            "mon 09:00",
            "09:00-09:00",
            "mon 09:00-24:01",
            "mon 09:00 - 16:00",
            "mon 24:00-02:00",
        ] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
        for bad in ["", "2026-02-30", "2026-05-02..2026-05-01", "christmas"] {
            assert!(bad.parse::<DaysOff>().is_err(), "{bad}");
        }
        assert!(zone("Europe/Belin").is_err() && zone("UTC").is_ok());
    }

    #[test]
    fn a_calendar_is_written_as_it_is_read() {
        let calendar = calendar(&["mon-fri 09:00-16:00"], &["2026-05-01", "2026-12-24..2027-01-02"]);
        let text = serde_json::to_string(&calendar).unwrap();
        assert!(text.contains(r#"["mon-fri 09:00-16:00"]"#), "{text}");
        assert_eq!(serde_json::from_str::<Calendar>(&text).unwrap(), calendar);
        assert_eq!(
            calendar.to_string(),
            "mon-fri 09:00-16:00, not on 2026-05-01, 2026-12-24..2027-01-02 (Europe/Berlin)"
        );
    }
}
