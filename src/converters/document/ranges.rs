//! Page ranges as people write them: `1-3,5,9-`.

/// Reads the ranges; pages count from 1, an open end is `u32::MAX`. The error says what is allowed.
pub fn parse(text: &str) -> Result<Vec<(u32, u32)>, String> {
    let wrong = || "page numbers from 1 and ranges, as 1-3,5".to_owned();
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong);
    text.split(',')
        .map(|part| match part.split_once('-') {
            Some((first, "")) => Ok((number(first)?, u32::MAX)),
            Some((first, last)) => Ok((number(first)?, number(last)?)),
            None => number(part).map(|n| (n, n)),
        })
        .map(|range| range.and_then(|(first, last)| if first <= last { Ok((first, last)) } else { Err(wrong()) }))
        .collect()
}

/// The pages (counted from 1) of a document of `count` that are asked for, in order and once each.
pub fn pages(wanted: Option<&str>, count: u32) -> Vec<u32> {
    let ranges = wanted.and_then(|text| parse(text).ok()).unwrap_or_else(|| vec![(1, u32::MAX)]);
    (1..=count).filter(|page| ranges.iter().any(|(first, last)| (first..=last).contains(&page))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_nonsense_is_refused() {
        assert_eq!(parse("1-3, 5,9-"), Ok(vec![(1, 3), (5, 5), (9, u32::MAX)]));
        assert_eq!(pages(Some("2-3,9-"), 10), [2, 3, 9, 10]);
        assert_eq!(pages(None, 2), [1, 2]);
        for text in ["", "0", "3-1", "a", "1;2", "-3", "1--2", "99999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
