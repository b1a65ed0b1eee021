use regex::Regex;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Word {
    text: String,
    length: usize,
}

fn main() {
    let words = Regex::new(r"\w+").expect("an expression");
    let found: Vec<Word> = words
        .find_iter("records what it fetches")
        .map(|one| Word { text: one.as_str().to_owned(), length: one.len() })
        .collect();
    println!("{}", serde_json::to_string(&found).expect("words"));
}
