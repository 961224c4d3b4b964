//! Pagination by token. A token names the last item of the page before, so that items which appear or vanish
//! meanwhile neither repeat nor hide others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::value::fault;
use crate::lab::error::AwsError;

/// The items after `token`, at most `most`, and the token of the next page.
pub fn page<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    most: usize,
    token_error: &'static str,
) -> Result<(Vec<T>, Option<String>), AwsError> {
    let skip = match token {
        None => 0,
        Some(token) => {
            let last = URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            last.and_then(|last| items.iter().position(|item| key(item) == last))
                .map(|place| place + 1)
                .ok_or_else(|| fault(token_error, "The token that was specified is not valid."))?
        }
    };
    let total = items.len();
    let chosen: Vec<T> = items.into_iter().skip(skip).take(most).collect();
    let next = match chosen.last() {
        Some(last) if skip + chosen.len() < total => Some(URL_SAFE_NO_PAD.encode(key(last))),
        _ => None,
    };
    Ok((chosen, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(items: &[u32], most: usize) -> Vec<Vec<u32>> {
        let (mut pages, mut token) = (Vec::new(), None);
        loop {
            let (chosen, next) = page(
                items.to_vec(),
                u32::to_string,
                token.as_deref(),
                most,
                "InvalidNextToken",
            )
            .expect("valid");
            pages.push(chosen);
            match next {
                Some(next) => token = Some(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_cover_everything_once() {
        assert_eq!(walk(&[1, 2, 3, 4, 5], 2), [vec![1, 2], vec![3, 4], vec![5]]);
        assert_eq!(walk(&[1, 2], 2), [vec![1, 2]]);
        assert_eq!(walk(&[], 2), [Vec::<u32>::new()]);
        assert!(page(vec![1], i32::to_string, Some("!"), 1, "InvalidNextToken").is_err());
    }

    #[test]
    fn a_new_item_in_front_is_not_answered_twice() {
        let (_, next) = page(vec![3, 2, 1], i32::to_string, None, 1, "InvalidNextToken").expect("valid");
        let (chosen, _) =
            page(vec![4, 3, 2, 1], i32::to_string, next.as_deref(), 1, "InvalidNextToken").expect("valid");
        assert_eq!(chosen, [2]);
    }
}
