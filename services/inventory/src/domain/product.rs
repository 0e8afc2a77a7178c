//! The products of a catalogue file.

use serde::Deserialize;
use thiserror::Error;

/// A product and how many there are at first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CatalogueProduct {
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) unit: String,
    /// In US dollars, as text: the database reads it as a decimal.
    pub(crate) price: String,
    pub(crate) on_hand: i64,
}

/// Why a file is no catalogue.
#[derive(Debug, Error)]
pub(crate) enum CatalogueError {
    #[error(transparent)]
    Csv(#[from] csv::Error),
    #[error("{sku}: {fault}")]
    Product { sku: String, fault: &'static str },
}

/// Reads a catalogue: CSV with a header. Answers the products by SKU.
pub(crate) fn parse(text: &str) -> Result<Vec<CatalogueProduct>, CatalogueError> {
    let mut products: Vec<CatalogueProduct> = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()?;
    products.sort_by(|a, b| a.sku.cmp(&b.sku));
    let twice = products.windows(2).find(|pair| pair[0].sku == pair[1].sku);
    let fault = twice.map(|pair| (&pair[0], "duplicate SKU")).or_else(|| {
        products
            .iter()
            .find_map(|product| Some((product, product.find_problem()?)))
    });
    match fault {
        Some((product, fault)) => Err(CatalogueError::Product {
            sku: product.sku.clone(),
            fault,
        }),
        None => Ok(products),
    }
}

impl CatalogueProduct {
    fn find_problem(&self) -> Option<&'static str> {
        let texts = [&self.sku, &self.name, &self.category, &self.unit];
        if texts.iter().any(|text| text.is_empty()) {
            Some("a text is empty")
        } else if !is_price(&self.price) {
            Some("the price is not an amount with two decimals")
        } else if self.on_hand < 0 {
            Some("the stock is below zero")
        } else {
            None
        }
    }
}

fn is_price(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(dollars, cents)| {
        digits(dollars) && dollars.len() <= 10 && digits(cents) && cents.len() == 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "sku,name,category,unit,price,on_hand\n";

    #[test]
    fn names_may_hold_commas_and_products_come_by_sku() {
        let text = format!("{HEADER}B,\"b, white\",Paper,ream,5.49,3\n A , a ,Paper,box,0.10,0\n");
        let products = parse(&text).unwrap();
        assert_eq!(products[0].name, "a");
        assert_eq!(products[1].name, "b, white");
    }

    #[test]
    fn what_is_wrong_is_told_by_sku() {
        for (line, fault) in [
            ("A,a,P,u,1.00,-1", "A: the stock is below zero"),
            ("A,,P,u,1.00,1", "A: a text is empty"),
            (
                "A,a,P,u,1.5,1",
                "A: the price is not an amount with two decimals",
            ),
            ("A,a,P,u,1.50,1\nA,b,P,u,1.50,1", "A: duplicate SKU"),
        ] {
            let error = parse(&format!("{HEADER}{line}\n")).unwrap_err();
            assert_eq!(error.to_string(), fault);
        }
        assert!(parse(&format!("{HEADER}A,a,P,u,1.00\n")).is_err());
        assert!(parse(&format!("{HEADER}A,a,P,u,1.00,some\n")).is_err());
    }
}
