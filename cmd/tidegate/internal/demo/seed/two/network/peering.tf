resource "terraform_data" "peering" {
  input = "to the other network"
}
