terraform {
  backend "local" {
    path = "@STATE@/network.tfstate"
  }
}

# Drawn for this demo: @NONCE@
resource "terraform_data" "gateway" {
  input = "large-@NONCE@"
}

resource "terraform_data" "subnet" {
  input = "private-a"
}

output "gateway" {
  value = terraform_data.gateway.output
}
