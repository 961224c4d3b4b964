//! Tags as Elastic Load Balancing and RDS take and change them alike. What is wrong with them each service says in its own
//! words; EC2, Auto Scaling and Route 53 have rules of their own.

use super::Call;
use crate::lab::error::AwsError;
use crate::lab::world::Tags;

/// Most tags of a resource, and longest key and value (Elastic Load Balancing User Guide, tags; Amazon RDS User Guide,
/// tagging).
pub const MOST: usize = 50;
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

/// The tags of a request; `unsound` is the answer to one whose key is given.
pub fn wanted(call: &Call<'_>, unsound: impl Fn(&str) -> AwsError) -> Result<Tags, AwsError> {
    let mut wanted = Tags::new();
    for tag in call.input.elements("Tags") {
        let (key, value) = (tag.required("Key")?, tag.text("Value").unwrap_or_default());
        if !(sound(key, KEY_MAX) && sound(value, VALUE_MAX)) {
            return Err(unsound(key));
        }
        wanted.insert(key.to_owned(), value.to_owned());
    }
    Ok(wanted)
}

/// Adds tags to those of a resource, or none where they would be too many.
pub fn add(tags: &mut Tags, wanted: &Tags, too_many: impl Fn() -> AwsError) -> Result<(), AwsError> {
    let mut after = tags.clone();
    after.extend(wanted.clone());
    if after.len() > MOST {
        return Err(too_many());
    }
    *tags = after;
    Ok(())
}

/// Takes the tags of a request off.
pub fn remove(call: &Call<'_>, tags: &mut Tags) {
    let keys = call.input.texts("TagKeys");
    tags.retain(|key, _| !keys.contains(&key.as_str()));
}

/// What a tag may be made of (API references of both, Tag), unlike EC2's.
fn sound(text: &str, longest: usize) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
    text.chars().count() <= longest && text.chars().all(allowed)
}
