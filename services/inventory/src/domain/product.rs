//! Parsing of a catalogue file.

use serde::Deserialize;
use thiserror::Error;

/// A product and its initial stock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CatalogueProduct {
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) unit: String,
    /// The price in US dollars, as text: the database parses it as a decimal.
    pub(crate) price: String,
    pub(crate) on_hand: i64,
}

/// The reason for which a catalogue is invalid.
#[derive(Debug, Error)]
pub(crate) enum CatalogueError {
    #[error(transparent)]
    Csv(#[from] csv::Error),
    #[error("{sku}: {problem}")]
    Product { sku: String, problem: &'static str },
}

/// Parses a catalogue, a CSV file with a header, and returns the products ordered by SKU.
///
/// # Errors
/// Returns [`CatalogueError`] if the file is not valid CSV or a product is invalid.
pub(crate) fn parse(text: &str) -> Result<Vec<CatalogueProduct>, CatalogueError> {
    let mut products: Vec<CatalogueProduct> = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()?;
    products.sort_by(|a, b| a.sku.cmp(&b.sku));
    let duplicate = products.windows(2).find(|pair| pair[0].sku == pair[1].sku);
    let invalid = duplicate
        .map(|pair| (&pair[0], "duplicate SKU"))
        .or_else(|| {
            products
                .iter()
                .find_map(|product| Some((product, product.find_problem()?)))
        });
    match invalid {
        Some((product, problem)) => Err(CatalogueError::Product {
            sku: product.sku.clone(),
            problem,
        }),
        None => Ok(products),
    }
}

impl CatalogueProduct {
    fn find_problem(&self) -> Option<&'static str> {
        let texts = [&self.sku, &self.name, &self.category, &self.unit];
        if texts.iter().any(|text| text.is_empty()) {
            Some("a field is empty")
        } else if !is_price(&self.price) {
            Some("the price is not an amount with two decimals")
        } else if self.on_hand < 0 {
            Some("the stock is negative")
        } else {
            None
        }
    }
}

fn is_price(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(dollars, cents)| {
        is_digits(dollars) && dollars.len() <= 10 && is_digits(cents) && cents.len() == 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "sku,name,category,unit,price,on_hand\n";

    #[test]
    fn quoted_commas_are_parsed_and_products_are_ordered_by_sku() {
        let text = format!("{HEADER}B,\"b, white\",Paper,ream,5.49,3\n A , a ,Paper,box,0.10,0\n");
        let products = parse(&text).unwrap();
        assert_eq!(products[0].name, "a");
        assert_eq!(products[1].name, "b, white");
    }

    #[test]
    fn invalid_product_is_reported_with_its_sku() {
        for (line, message) in [
            ("A,a,P,u,1.00,-1", "A: the stock is negative"),
            ("A,,P,u,1.00,1", "A: a field is empty"),
            (
                "A,a,P,u,1.5,1",
                "A: the price is not an amount with two decimals",
            ),
            ("A,a,P,u,1.50,1\nA,b,P,u,1.50,1", "A: duplicate SKU"),
        ] {
            let error = parse(&format!("{HEADER}{line}\n")).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        assert!(parse(&format!("{HEADER}A,a,P,u,1.00\n")).is_err());
        assert!(parse(&format!("{HEADER}A,a,P,u,1.00,some\n")).is_err());
    }
}
