fn main() {
    println!("{}", hex::encode("hello"));
}
